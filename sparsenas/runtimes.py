"""Runtimes beside PyTorch: what must be installed, how a network becomes a file for them, and how it runs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparsenas.errors import ConfigError

#: Maps images ``(B, C, H, W)`` to logits ``(B, classes)``, or whatever the network gives.
Runner = Callable[[Tensor], Tensor]
#: Packages that write and run ONNX, and OpenVINO, which is converted from it.
ONNX = ("onnx", "onnxscript", "onnxruntime")
OPENVINO = (*ONNX, "openvino")


def require(what: str, packages: Sequence[str], extra: str, otherwise: str) -> None:
    """Look for the packages of an extra, without importing them.

    Args:
        what: What needs them.
        packages: Names by which they are imported.
        extra: The extra that installs them.
        otherwise: What to do without them.

    Raises:
        ConfigError: If one is missing; the message says how to install it.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{what} needs {', '.join(missing)}: install them by pip install 'sparsenas[{extra}]', or {otherwise}"
        )


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute in one thread meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def free_batch() -> dict[str, dict[int, torch.export.Dim]]:
    """Say that the number of images is free; an example must have at least two."""
    return {"images": {0: torch.export.Dim("batch", min=1)}}


def write_onnx(network: nn.Module, example: Tensor, path: Path, free: bool = True) -> None:
    """Trace a network, and write it as one ONNX file with input ``images`` and output ``logits``.

    Args:
        network: In evaluation mode; its forward pass takes ``images``, or one tensor of another name.
        example: Images, shape ``(B, C, H, W)``; at least two if their number is to be free.
        path: File.
        free: Take any number of images.
    """
    torch.onnx.export(
        network,
        (example,),
        path,
        dynamo=True,
        dynamic_shapes=free_batch() if free else None,
        input_names=["images"],
        output_names=["logits"],
        external_data=False,
        verbose=False,
    )


def onnx_runner(path: Path, threads: int = 1) -> Runner:
    """Run a file of :func:`write_onnx` in onnxruntime, on the CPU."""
    import onnxruntime  # an extra

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

    return run


def write_openvino(source: Path, target: Path) -> None:
    """Convert an ONNX file to OpenVINO: ``target``, an XML file, and its numbers in float32 beside it (``.bin``)."""
    import openvino  # an extra

    openvino.save_model(openvino.convert_model(source), target, compress_to_fp16=False)


def openvino_runner(path: Path, threads: int = 1) -> Runner:
    """Run a file of :func:`write_openvino` in OpenVINO, on the CPU, in float32 also where it could be less."""
    import openvino

    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", options)

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(compiled(images.numpy())[0].copy())

    return run
