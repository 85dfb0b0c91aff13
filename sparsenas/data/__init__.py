"""LightningDataModules for labelled images; everything stands alone and may be used without the rest."""

from sparsenas.data.augment import Augmentation
from sparsenas.data.base import ImageData
from sparsenas.data.cross_validation import CrossValidation
from sparsenas.data.digits import Digits
from sparsenas.data.folder import ImageFolder
from sparsenas.data.npz import NpzImages
from sparsenas.data.torchvision_sources import Cifar10, Cifar100, FashionMnist

__all__ = [
    "Augmentation",
    "Cifar10",
    "Cifar100",
    "CrossValidation",
    "Digits",
    "FashionMnist",
    "ImageData",
    "ImageFolder",
    "NpzImages",
]
