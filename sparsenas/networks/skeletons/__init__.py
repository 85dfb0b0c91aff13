"""Skeletons: everything around the operations of a space, from the image to the logits."""

from sparsenas.errors import ConfigError
from sparsenas.networks.skeletons.base import Held, Skeleton
from sparsenas.networks.skeletons.benchmarks import NasBench201Skeleton, NasBenchMacroSkeleton, WeightSharing64Skeleton
from sparsenas.networks.skeletons.darts import DartsSkeleton, reduction_positions
from sparsenas.networks.skeletons.proxyless import ProxylessSkeleton
from sparsenas.networks.skeletons.stage import CHANNEL_GRID, StageSkeleton, stage_cost
from sparsenas.spaces import ProxylessSpace
from sparsenas.spaces.proxyless import PROXYLESS_WIDTHS

__all__ = ["CHANNEL_GRID", "SKELETONS", "Held", "Skeleton", "reduction_positions", "skeleton_of", "stage_cost"]

#: Skeletons by the name of their space.
SKELETONS: dict[str, Skeleton] = {
    "darts": DartsSkeleton(),
    "nasbench201": NasBench201Skeleton(),
    "weight_sharing64": WeightSharing64Skeleton(),
    "nasbench_macro": NasBenchMacroSkeleton(),
    "stage": StageSkeleton(),
    **{ProxylessSpace(widths).name: ProxylessSkeleton(widths) for widths in PROXYLESS_WIDTHS},
}


def skeleton_of(space: str) -> Skeleton:
    """Return the skeleton of a space by its name, or raise a ``ConfigError`` if there is none."""
    if space not in SKELETONS:
        raise ConfigError(f"no network is known for the space {space!r}; known are {', '.join(SKELETONS)}")
    return SKELETONS[space]
