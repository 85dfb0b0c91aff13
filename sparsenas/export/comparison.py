"""Comparison of an exported file with the network it was made from, on real images."""

from collections.abc import Iterator
from math import isfinite

import torch
from torch import Tensor, nn

from sparsenas.classification import right
from sparsenas.errors import ExportError
from sparsenas.runtimes import Runner

#: Largest absolute difference of logits; float32 convolutions in another order differ by about 1e-5.
TOLERANCE = 1e-4
#: Images of the batches after the first, which has one.
BATCH_SIZE = 100


def batches(images: Tensor) -> Iterator[Tensor]:
    """Yield batches of one image, then of 100, then of the rest: a file must take them all."""
    yield images[:1]
    if len(images) > 1:
        yield from torch.split(images[1:], BATCH_SIZE)


@torch.no_grad()
def run(runner: Runner, images: Tensor) -> Tensor:
    """Return the logits of all images, shape ``(N, classes)``, float32."""
    return torch.cat([runner(batch.contiguous()).float().cpu() for batch in batches(images)])


def check_finite(network: nn.Module, images: Tensor) -> None:
    """Check that a network computes numbers.

    Raises:
        ExportError: If a weight or a logit is not finite, as after a training that has diverged.
    """
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ExportError(f"weights of the network are not finite ({name}): its training has diverged; train anew")
    bad = int((~run(network, images).isfinite()).any(1).sum())
    if bad:
        raise ExportError(
            f"the network's logits of {bad} of {len(images)} images are not finite: its training has diverged; "
            "train anew"
        )


def compare(
    runner: Runner, images: Tensor, expected: Tensor, name: str, exact: bool = True, multilabel: bool = False
) -> tuple[float, float]:
    """Compare the logits of a file with those expected.

    Args:
        runner: Runs the file.
        images: Normalised images, shape ``(N, C, H, W)``.
        expected: Logits, shape ``(N, classes)``.
        name: Name of the file, for messages.
        exact: Allow no difference above :data:`TOLERANCE` and no other class.
        multilabel: Images have any number of labels.

    Returns:
        The largest absolute difference of logits, and the share of images that get the same class, or the same labels.

    Raises:
        ExportError: If a difference is too large, or logits are no numbers.
    """
    found = run(runner, images)
    if found.shape != expected.shape:
        raise ExportError(f"{name}: gives logits of shape {tuple(found.shape)}, not {tuple(expected.shape)}")
    difference = float((found - expected).abs().max())
    others = int((~right(found, (expected > 0).float() if multilabel else expected.argmax(1))).sum())
    # a difference may also be no number; logits beside 0 may change their sign without one that matters
    if exact and ((others and not multilabel) or not difference <= TOLERANCE):
        raise ExportError(
            f"{name}: does not compute what the checkpoint's network does: its logits differ by up to {difference:.1e} "
            f"(at most {TOLERANCE:.0e} is allowed) and {others} of {len(images)} images get another class; "
            "nothing was exported"
        )
    if not isfinite(difference):
        raise ExportError(f"{name}: its logits are not finite; leave it out of the formats")
    return difference, 1 - others / len(images)
