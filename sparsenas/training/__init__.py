"""Stand-alone training of a genotype."""

from sparsenas.schedules import WarmupDecay
from sparsenas.training.stand_alone import StandAloneTraining

__all__ = ["StandAloneTraining", "WarmupDecay"]
