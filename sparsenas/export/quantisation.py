"""Quantisation of an ONNX file to 8 bits; imported only when it is wanted."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor

#: Images whose activations are observed at once.
BATCH_SIZE = 16


class _Images(CalibrationDataReader):  # type: ignore[misc]  # no type hints
    """Batches of images by the name of the input."""

    def __init__(self, images: Tensor) -> None:
        self._batches = iter(torch.split(images, BATCH_SIZE))

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, or None."""
        batch = next(self._batches, None)
        return None if batch is None else {"images": batch.contiguous().numpy()}


def quantise(source: Path, target: Path, images: Tensor) -> None:
    """Write an ONNX file with weights of 8 bits by channel, and activations of 8 bits by tensor.

    Args:
        source: ONNX file in float32.
        target: File to write.
        images: Images that decide the ranges of activations, shape ``(N, C, H, W)``.
    """
    prepared = target.with_name("prepared.onnx")
    with _quiet():
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_static(
                prepared,
                target,
                _Images(images),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QInt8,
            )
        finally:
            prepared.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Drop hints for people who call onnxruntime themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
