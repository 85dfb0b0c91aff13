"""Data sets that torchvision reads and fetches."""

from collections.abc import Sequence
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision import datasets

from sparsenas.data.base import ImageData
from sparsenas.data.loading import InMemory
from sparsenas.data.names import Indices
from sparsenas.data.sources import ImageSource, PartName, expand_path
from sparsenas.errors import DataError

#: Data sets with ``train`` and ``download`` arguments and ``data``, ``targets``, ``classes`` attributes.
_DatasetClass = type[datasets.CIFAR10] | type[datasets.FashionMNIST]

_CIFAR100_CLASSES = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm
"""


class TorchvisionSource(ImageSource):
    """A data set of torchvision, held in memory; its parts are ``"train"`` and ``"test"``.

    Image shape and class names are arguments, because they must be known before files are fetched.

    Raises:
        DataError: If an environment variable of ``root`` is not set.
    """

    def __init__(
        self,
        dataset: _DatasetClass,
        root: str,
        download: bool,
        image_shape: tuple[int, int, int],
        class_names: tuple[str, ...],
    ) -> None:
        self._dataset = dataset
        self._root = expand_path(root, "data.root")
        self._download = download
        self._read_parts: dict[PartName, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
        self.name = f"{dataset.__name__} in {self._root}"
        self.image_shape = image_shape
        self.class_names = class_names

    def prepare(self) -> None:
        """Fetch missing files if asked to.

        Raises:
            DataError: If that fails.
        """
        if not self._download:
            return
        try:
            self._dataset(str(self._root), download=True)
        except (URLError, OSError, RuntimeError) as error:
            raise DataError(
                f"{self.name}: could not be fetched ({error}); check the connection and that the folder can be written"
            ) from error

    def has(self, part: PartName) -> bool:
        """Return True for the training and the test part."""
        return part in ("train", "test")

    def labels(self, part: PartName) -> NDArray[np.int64]:
        """Return the labels of a part, shape ``(N,)``."""
        return self._read(part)[1]

    def load(self, part: PartName, indices: Indices) -> InMemory:
        """Return the images at ``indices`` of a part, as one tensor."""
        images, labels = self._read(part)
        chosen = torch.from_numpy(images[indices]).permute(0, 3, 1, 2).contiguous()
        return InMemory(chosen, torch.from_numpy(labels[indices]))

    def _read(self, part: PartName) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Read images ``(N, H, W, C)`` and labels of a part."""
        if part not in self._read_parts:
            try:
                data = self._dataset(str(self._root), train=part == "train")
            except (OSError, RuntimeError) as error:
                raise DataError(
                    f"{self.name}: files missing or damaged ({error}); set data.download to true to fetch them, "
                    "or data.root to the folder that holds them"
                ) from error
            images = np.asarray(data.data).reshape(-1, *self.image_shape[1:], self.image_shape[0])
            self._read_parts[part] = images, np.asarray(data.targets, dtype=np.int64)
        return self._read_parts[part]


class _TorchvisionImages(ImageData):
    """Images of a torchvision data set.

    Args:
        root: Folder of torchvision's files; ``~`` and environment variables are replaced.
        download: Fetch missing files (170 MB for CIFAR, 30 MB for Fashion-MNIST) into ``root``.
        options: See :class:`ImageData`.
    """

    _dataset: str
    _image_shape = (3, 32, 32)
    _class_names: Sequence[str]

    def __init__(self, root: str = "data", download: bool = False, **options: Any) -> None:
        dataset = getattr(datasets, self._dataset)
        source = TorchvisionSource(dataset, root, download, self._image_shape, tuple(self._class_names))
        super().__init__(source, **options)


class Cifar10(_TorchvisionImages):
    """CIFAR-10: 50,000 + 10,000 colour images of 32x32 in 10 classes.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
    """

    _dataset = "CIFAR10"
    _class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class Cifar100(_TorchvisionImages):
    """CIFAR-100: 50,000 + 10,000 colour images of 32x32 in 100 classes.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
    """

    _dataset = "CIFAR100"
    _class_names = _CIFAR100_CLASSES.split()


class FashionMnist(_TorchvisionImages):
    """Fashion-MNIST: 60,000 + 10,000 grey images of 28x28 in 10 classes.

    Source: Xiao et al., Fashion-MNIST (2017).
    """

    _dataset = "FashionMNIST"
    _image_shape = (1, 28, 28)
    _class_names = datasets.FashionMNIST.classes
