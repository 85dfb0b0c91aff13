"""The formats of an exported network: how each is written, read back and run."""

import builtins
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from sparsenas.errors import ConfigError, ExportError
from sparsenas.export.blueprint import Blueprint
from sparsenas.export.preparation import Preparation
from sparsenas.export.source import network_source
from sparsenas.networks import DerivedNet, fuse_batchnorm
from sparsenas.runtimes import (
    ONNX,
    OPENVINO,
    Runner,
    free_batch,
    onnx_runner,
    openvino_runner,
    require,
    write_onnx,
    write_openvino,
)

#: Images of the example by which networks are traced; with one image, exporters would take the batch as fixed.
EXAMPLE_IMAGES = 2


@dataclass(frozen=True)
class Material:
    """Inputs of the files, beside the network.

    Attributes:
        example: Images that the network takes, shape ``(2, C, H, W)``.
        preparation: Preparation of images.
        class_names: One name per logit.
        temperature: Divides logits for probabilities.
        calibration: Images that trained the network, prepared as for evaluation, shape ``(N, C, H, W)``.
        multilabel: Images have any number of labels.
    """

    example: Tensor
    preparation: Preparation
    class_names: tuple[str, ...]
    temperature: float = 1.0
    calibration: Tensor | None = None
    multilabel: bool = False


class WeightsFormat(Protocol):
    """A file format for networks."""

    #: Name of the file in an export.
    filename: str
    #: A second file that belongs to it, if there is one.
    companion: str | None = None
    #: True if the file must compute what the network does; else its accuracy is measured.
    exact: bool = True

    def check(self) -> None:
        """Check that the format can be written and run here.

        Raises:
            ConfigError: If something is not installed; the message says how to install it.
        """
        return None

    def write(self, network: DerivedNet, material: Material, path: Path) -> None:
        """Write a network in evaluation mode."""
        ...

    def runner(self, path: Path, blueprint: Blueprint) -> Runner:
        """Read a file back, to run in one thread; the blueprint serves formats that hold tensors only."""
        ...


class Safetensors(WeightsFormat):
    """Tensors by name, without code; ``sparsenas.load`` builds the network around them."""

    filename = "model.safetensors"

    def write(self, network: DerivedNet, material: Material, path: Path) -> None:
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

    def write(self, network: DerivedNet, material: Material, path: Path) -> None:
        """Trace and write."""
        program = torch.export.export(network, (material.example,), dynamic_shapes=free_batch())
        buffer = io.BytesIO()  # not the file: on a full disk torch's writer would end the process
        torch.export.save(program, buffer)
        path.write_bytes(buffer.getvalue())

    def runner(self, path: Path, blueprint: Blueprint) -> Runner:
        """Load the traced computation."""
        return torch.export.load(path).module()


class Python(WeightsFormat):
    """Source in plain PyTorch, which reads the weights of the safetensors file beside it."""

    filename = "model.py"

    def write(self, network: DerivedNet, material: Material, path: Path) -> None:
        """Write the source."""
        text = network_source(
            network,
            material.preparation,
            material.class_names,
            material.temperature,
            Safetensors.filename,
            material.multilabel,
        )
        path.write_text(text, encoding="utf-8")

    def runner(self, path: Path, blueprint: Blueprint) -> Runner:
        """Execute the source where sparsenas cannot be imported, and load its network."""

        def guarded(name: str, *args: Any) -> Any:
            if name.partition(".")[0] == "sparsenas":
                raise ImportError(f"{path.name} imports {name}")
            return builtins.__import__(name, *args)

        loader = _Uncached("model", str(path))
        spec = spec_from_loader("model", loader)
        assert spec is not None  # for type checkers: there is a loader
        module = module_from_spec(spec)
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": guarded}
        loader.exec_module(module)
        network: Runner = module.load()
        return network


class _Uncached(SourceFileLoader):
    """Loader of source that leaves no compiled code in the export."""

    def set_data(self, *args: Any, **options: Any) -> None:
        """Write nothing."""


class Onnx(WeightsFormat):
    """ONNX in a single file, with input ``images`` of any batch size; runs on onnxruntime."""

    filename = "model.onnx"

    def check(self) -> None:
        """See :class:`WeightsFormat`."""
        require("the format onnx", ONNX, "onnx", "leave onnx out of the formats")

    def write(self, network: DerivedNet, material: Material, path: Path) -> None:
        """Trace and write."""
        write_onnx(network, material.example, path)

    def runner(self, path: Path, blueprint: Blueprint) -> Runner:
        """Run the file in onnxruntime, on the CPU."""
        return onnx_runner(path)


class OnnxInt8(WeightsFormat):
    """ONNX with weights and activations of 8 bits, whose ranges are those on training images.

    Source: Jacob et al., Quantization and Training of Neural Networks (CVPR 2018); static quantisation of onnxruntime,
    by channel, in its QDQ form.
    """

    filename = "model.int8.onnx"
    exact = False

    def check(self) -> None:
        """See :class:`WeightsFormat`."""
        require("the format onnx-int8", ONNX, "onnx", "leave onnx-int8 out of the formats")

    def write(self, network: DerivedNet, material: Material, path: Path) -> None:
        """Trace, observe the ranges, and write.

        Raises:
            ConfigError: If there are no images for the ranges.
        """
        from sparsenas.export.quantisation import quantise  # onnxruntime.quantization takes a second to import

        if material.calibration is None:
            raise ConfigError("the format onnx-int8 needs training images for the ranges of activations; give some")
        float_file = path.with_name("float.onnx")
        try:
            write_onnx(fuse_batchnorm(network), material.example, float_file)
            quantise(float_file, path, material.calibration)
        finally:
            float_file.unlink(missing_ok=True)

    def runner(self, path: Path, blueprint: Blueprint) -> Runner:
        """Run the file in onnxruntime, on the CPU."""
        return onnx_runner(path)


class OpenVino(WeightsFormat):
    """Files of OpenVINO, for processors, graphics and accelerators of Intel: a graph, and its numbers beside it."""

    filename = "model.xml"
    companion = "model.bin"

    def check(self) -> None:
        """See :class:`WeightsFormat`."""
        require("the format openvino", OPENVINO, "openvino", "leave openvino out of the formats")

    def write(self, network: DerivedNet, material: Material, path: Path) -> None:
        """Trace, convert and write."""
        onnx_file = path.with_name("openvino.onnx")
        try:
            write_onnx(network, material.example, onnx_file)
            write_openvino(onnx_file, path)
        finally:
            onnx_file.unlink(missing_ok=True)

    def runner(self, path: Path, blueprint: Blueprint) -> Runner:
        """Run the file in OpenVINO, on the CPU."""
        return openvino_runner(path)


#: Formats by the name a user gives. The first is always written, as it is the one that ``sparsenas.load`` reads.
FORMATS: dict[str, WeightsFormat] = {
    "safetensors": Safetensors(),
    "pt2": ExportedProgram(),
    "python": Python(),
    "onnx": Onnx(),
    "onnx-int8": OnnxInt8(),
    "openvino": OpenVino(),
}


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
