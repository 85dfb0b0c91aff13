"""Stand-alone training of a genotype."""

from sparsenas.training.schedules import WarmupDecay
from sparsenas.training.stand_alone import StandAloneTraining, read_genotype

__all__ = ["StandAloneTraining", "WarmupDecay", "read_genotype"]
