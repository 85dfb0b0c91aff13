"""The formats of an exported network: how each is written, read back and run."""

import io
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sparsenas.errors import ConfigError, ExportError
from sparsenas.export.blueprint import Blueprint
from sparsenas.networks import DerivedNet

#: Maps normalised images ``(B, C, H, W)`` to logits ``(B, classes)``.
Runner = Callable[[Tensor], Tensor]

#: Images of the example by which networks are traced; with one image, exporters would take the batch as fixed.
EXAMPLE_IMAGES = 2


class WeightsFormat(Protocol):
    """A file format for networks."""

    #: Name of the file in an export.
    filename: str

    def check(self) -> None:
        """Check that the format can be written and run here.

        Raises:
            ConfigError: If something is not installed; the message says how to install it.
        """
        return None

    def write(self, network: DerivedNet, example: Tensor, path: Path) -> None:
        """Write a network in evaluation mode; ``example`` is a batch of images that it takes."""
        ...

    def runner(self, path: Path, blueprint: Blueprint) -> Runner:
        """Read a file back; the blueprint of its network serves formats that hold tensors only."""
        ...


class Safetensors(WeightsFormat):
    """Tensors by name, without code; ``sparsenas.load`` builds the network around them."""

    filename = "model.safetensors"

    def write(self, network: DerivedNet, example: Tensor, path: Path) -> None:
        """Write all parameters and buffers."""
        tensors = {name: tensor.detach().contiguous() for name, tensor in network.state_dict().items()}
        # not save_file: only the owner could read the file
        path.write_bytes(save(tensors, metadata={"format": "pt", "sparsenas": "1"}))

    def runner(self, path: Path, blueprint: Blueprint) -> DerivedNet:
        """Build the network in evaluation mode.

        Raises:
            ExportError: If the file does not hold exactly the tensors of the blueprint.
        """
        try:
            tensors = load_file(path)
            blueprint.check_size(len(tensors), sum(tensor.numel() for tensor in tensors.values()))
            network = blueprint.build()
            network.load_state_dict(tensors)
        except (OSError, SafetensorError, RuntimeError) as error:  # RuntimeError: the tensors differ
            reason = " ".join(str(error).split())[:200]
            raise ExportError(f"{path.name}: does not hold the weights of its network ({reason})") from error
        return network.to(memory_format=torch.channels_last)  # about twice as fast on CPUs


class ExportedProgram(WeightsFormat):
    """The traced computation of ``torch.export``, which runs without sparsenas; the batch size is free."""

    filename = "model.pt2"

    def write(self, network: DerivedNet, example: Tensor, path: Path) -> None:
        """Trace and write."""
        program = torch.export.export(network, (example,), dynamic_shapes=_free_batch())
        buffer = io.BytesIO()  # not the file: on a full disk torch's writer would end the process
        torch.export.save(program, buffer)
        path.write_bytes(buffer.getvalue())

    def runner(self, path: Path, blueprint: Blueprint) -> Runner:
        """Load the traced computation."""
        return torch.export.load(path).module()


class Onnx(WeightsFormat):
    """ONNX in a single file, with input ``images`` of any batch size; runs on onnxruntime."""

    filename = "model.onnx"

    def check(self) -> None:
        """Look for the packages of the extra, without importing them.

        Raises:
            ConfigError: If one is missing.
        """
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"the format onnx needs {', '.join(missing)}: install them by pip install 'sparsenas[onnx]', "
                "or leave onnx out of the formats"
            )

    def write(self, network: DerivedNet, example: Tensor, path: Path) -> None:
        """Trace and write."""
        torch.onnx.export(
            network,
            (example,),
            path,
            dynamo=True,
            dynamic_shapes=_free_batch(),
            input_names=["images"],
            output_names=["logits"],
            external_data=False,
            verbose=False,
        )

    def runner(self, path: Path, blueprint: Blueprint) -> Runner:
        """Run the file in onnxruntime, on the CPU."""
        import onnxruntime  # an extra

        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

        def run(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])

        return run


#: Formats by the name a user gives. The first is always written, as it is the one that ``sparsenas.load`` reads.
FORMATS: dict[str, WeightsFormat] = {"safetensors": Safetensors(), "pt2": ExportedProgram(), "onnx": Onnx()}


def choose_formats(names: Sequence[str]) -> tuple[WeightsFormat, ...]:
    """Return formats by name, each once, in the order of :data:`FORMATS`; safetensors is always among them.

    Raises:
        ConfigError: If a name is unknown, or a format cannot be written here.
    """
    for name in names:
        if name not in FORMATS:
            raise ConfigError(f"formats: {name!r} is unknown; known are {', '.join(FORMATS)}")
    chosen = tuple(made for name, made in FORMATS.items() if name in names or isinstance(made, Safetensors))
    for made in chosen:
        made.check()
    return chosen


def _free_batch() -> dict[str, dict[int, torch.export.Dim]]:
    return {"images": {0: torch.export.Dim("batch", min=1)}}
