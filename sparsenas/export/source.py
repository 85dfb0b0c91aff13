"""A network as a file of plain PyTorch source, to read, to own and to train on."""

import inspect
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from sparsenas.export import plain
from sparsenas.export.expressions import Call, Function, Value, as_function, of_torch, sequence
from sparsenas.export.preparation import Preparation
from sparsenas.images import MODES
from sparsenas.networks import DerivedNet
from sparsenas.networks.cell import Cell, Wiring, wire
from sparsenas.networks.heads import PlainStem, Stem
from sparsenas.networks.layers import LayerOperation, LayerStack, Passage, SqueezeExcitation
from sparsenas.networks.normalisation import ScaledBatchNorm
from sparsenas.networks.operations import EverySecondPixel, FactorizedReduce, Operation, Residual, Zero

HEAD = '''"""A network for images in plain PyTorch, with the weights of {weights} beside it.

It needs torch only; Pillow reads image files: ``python model.py IMAGE ...`` classifies them.
``load()`` gives the trained network in evaluation mode: normalised images (B, C, H, W) to logits (B, classes).
To train on: ``network = load().train()``.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

CLASS_NAMES = {classes}
#: Images: height and width, channels by their mode; mean and deviation of pixels scaled to [0, 1].
HEIGHT, WIDTH, MODE = {height}, {width}, "{mode}"
MEAN, STD = {mean}, {std}
#: The shorter side to which images are resized before the centre is cut out, "squash" or "pad"; None: they are fitted.
RESIZE = {resize}
#: Divide logits by it before the {activation}, and probabilities are as sure as they are right on validation images.
TEMPERATURE = {temperature!r}
WEIGHTS = Path(__file__).with_name("{weights}")
DTYPES = {{"F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "I64": torch.int64}}
'''

LOAD = '''
def load(path=WEIGHTS):
    """Build the network, with the weights of a safetensors file, in evaluation mode."""
    network = Network()
    network.load_state_dict(read_weights(path))
    return network.eval()
'''

MAIN = '''

def main(paths):
    """Print the most probable class of image files, and its probability."""
    from PIL import Image

    network = load()
    for path in paths:
        with torch.inference_mode():
            logits = network(prepare(Image.open(path))[None])[0]
        probability, best = logits.softmax(0).max(0)
        print(f"{path}  {CLASS_NAMES[int(best)]}  {float(probability):.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
'''

MAIN_OF_LABELS = '''

def main(paths):
    """Print the labels of image files that are more probable than not, each with its probability."""
    from PIL import Image

    network = load()
    for path in paths:
        with torch.inference_mode():
            logits = network(prepare(Image.open(path))[None])[0]
        said = zip(CLASS_NAMES, logits.sigmoid().tolist())
        print(path, *(f"{name}  {probability:.4f}" for name, probability in said if probability > 0.5), sep="  ")


if __name__ == "__main__":
    main(sys.argv[1:])
'''


def network_source(
    network: DerivedNet,
    preparation: Preparation,
    class_names: tuple[str, ...],
    temperature: float,
    weights: str,
    multilabel: bool = False,
) -> str:
    """Write a network as source that imports torch only, whose tensors have the names of the network.

    Args:
        network: Without auxiliary classifier.
        preparation: Of its images.
        class_names: One name per logit.
        temperature: Divides logits for probabilities.
        weights: Name of the safetensors file beside it.
        multilabel: Images have any number of labels.

    Raises:
        ExportError: If a part of the network is neither PyTorch's nor of sparsenas.
    """
    writer = _Writer(network)
    definitions = [
        HEAD.format(
            weights=weights,
            classes=json.dumps(class_names, ensure_ascii=False),
            height=preparation.image_shape[1],
            width=preparation.image_shape[2],
            mode=MODES.get(preparation.image_shape[0], ""),
            mean=tuple(preparation.mean),
            std=tuple(preparation.std),
            resize=json.dumps(preparation.resize) if preparation.resize else None,
            temperature=temperature,
            activation="sigmoid" if multilabel else "softmax",
        )
    ]
    body = "\n".join(writer.lines())
    definitions += [_source(getattr(plain, name)) for name in writer.used]
    definitions += [body, _source(plain.read_weights), _source(plain.prepare)]
    return "\n\n".join(definitions) + "\n" + LOAD + (MAIN_OF_LABELS if multilabel else MAIN)


def _source(found: Callable[..., Any]) -> str:
    """Return the source of a class or function of :mod:`plain` without its annotations."""
    text = inspect.getsource(found).replace("  # noqa: D102", "")
    text = re.sub(r" -> [^\n]+:$", ":", text, flags=re.MULTILINE)
    text = re.sub(r"(\w+): nn\.Module \| None = None", r"\1=None", text)
    text = re.sub(r"(?<=[(, ])(\w+): (?:[\w.]+(?:\[[\w., ]+\])?(?: \| )?)+(?= =|[,)])", r"\1", text)
    text = re.sub(r"^( +)(\w+): torch\.Tensor = ", r"\1\2 = ", text, flags=re.MULTILINE)
    if "    from PIL" not in text and found is plain.prepare:
        text = text.replace('"""\n', '"""\n    from PIL import Image, ImageOps\n\n', 1)
    return text.rstrip() + "\n"


class _Writer:
    """Source of one network."""

    def __init__(self, network: DerivedNet) -> None:
        self.network = network
        self.used: dict[str, None] = {}  # classes of `plain`, in the order of their use
        self._groups: dict[tuple[str, object], list[nn.Module]] = {}
        self._calls: dict[nn.Module, Call] = {}
        self._functions: list[Function] = []

    def lines(self) -> Iterator[str]:
        """Yield functions that make operations, cells, and the network."""
        cells = [(name, cell, wire(self.network.genotype.cell(name))) for name, cell in self.network.typed_cells()]
        for _, cell, wiring in cells:
            for name, module in _inputs(cell):
                self._note(name, module)
            for key, operation in _operations(cell, wiring):
                self._note(key.split("_", 2)[2], operation)
        self._make_functions()
        body = list(self._network(cells))
        for function in self._functions:
            yield from [*function.lines(), "", ""]
        for name, (cell, wiring) in {name: (cell, wiring) for name, cell, wiring in cells}.items():
            if not _is_chain(cell, wiring):
                yield from [*_cell_class(name, cell, wiring), "", ""]
        yield from body
        yield ""

    def _note(self, name: str, module: nn.Module) -> None:
        """Take up an operation, or the layers of one that is several."""
        if isinstance(module, LayerStack):
            for layer in module.layers:
                self._note(name, layer)
        else:
            label = re.sub(r"\W.*", "", name.rpartition(":")[2])
            self._groups.setdefault((label, self._call(module).skeleton), []).append(module)

    def _make_functions(self) -> None:
        taken: dict[str, int] = {}
        for (label, _), modules in self._groups.items():
            if len(modules) > 1 and list(modules[0].children()):
                taken[label] = taken.get(label, 0) + 1
                name = label if taken[label] == 1 else f"{label}_{taken[label]}"
                function, calls = as_function(name, [self._call(module) for module in modules])
                self._functions.append(function)
                self._calls.update(zip(modules, calls, strict=True))

    def _network(self, cells: list[tuple[str, Cell, Wiring]]) -> Iterator[str]:
        """Yield the class of the network."""
        network, pair = self.network, cells[0][1].num_inputs == 2
        last = "newer" if pair else "x"
        yield from [
            "class Network(nn.Module):",
            '    """Stem, cells, global average pooling, linear classifier."""',
            "",
        ]
        yield from ["    def __init__(self):", "        super().__init__()"]
        has_stem = next(network.stem.parameters(), None) is not None
        if has_stem:
            yield from self._call(network.stem).lines("self.stem = ", indent=8)
        built = [self._cell(*cell) for cell in cells]
        yield from Call("nn.ModuleList", (("", sequence("[", built)),)).lines("self.cells = ", indent=8)
        if network.neck is not None:
            yield from self._call(network.neck).lines("self.neck = ", indent=8)
        yield from self._call(network.classifier).lines("self.classifier = ", indent=8)
        yield from ["", "    def forward(self, images):", '        """Compute logits (B, classes)."""']
        first = "self.stem(images)" if pair else "self.stem(images)[0]"
        yield f"        {'older, newer' if pair else 'x'} = {first if has_stem else 'images'}"
        yield "        for cell in self.cells:"
        yield f"            {'older, newer = newer, cell(older, newer)' if pair else 'x = cell(x)'}"
        yield f"        return self.classifier({last if network.neck is None else f'self.neck({last})'}.mean((2, 3)))"

    def _cell(self, name: str, cell: Cell, wiring: Wiring) -> Call:
        operations = tuple((key, self._call(module)) for key, module in _operations(cell, wiring))
        if _is_chain(cell, wiring):
            self.used["Chain"] = None
            return Call("Chain", (("", Call("{", operations)),))
        self.used["Cell"] = None
        inputs = sequence("[", [self._call(module) for _, module in _inputs(cell)])
        return sequence(_class_name(name), [inputs, Call("{", operations)])

    def _call(self, module: nn.Module) -> Call:
        """Make the call that constructs a module."""
        if module in self._calls:
            return self._calls[module]
        kind = type(module)
        if kind is nn.Sequential:
            return sequence("nn.Sequential", [self._call(part) for part in module.children()])
        if kind is ScaledBatchNorm:
            return of_torch(module, nn.BatchNorm2d)
        if kind is LayerOperation:
            return self._parts("Layer", module, "body", norm=None, shortcut=None, relu=None)
        if kind in (Operation, LayerStack, Passage):
            return self._parts("Operation", module, "body", norm=None)
        if isinstance(module, (Stem, PlainStem)):
            return self._parts("Stem", module, "first", second=None)
        if kind is FactorizedReduce:
            return self._parts("FactorizedReduce", module, "even", "odd")
        if kind is Residual:
            return self._parts("Residual", module, "main", "shortcut")
        if kind is SqueezeExcitation:
            return self._parts("SqueezeExcitation", module, "gate")
        if kind is EverySecondPixel:
            return self._parts("EverySecondPixel", module)
        if isinstance(module, Zero):
            self.used["Zero"] = None
            return Call("Zero", (("stride", module.stride),))
        return of_torch(module, kind)

    def _parts(self, name: str, module: nn.Module, *needed: str, **optional: None) -> Call:
        self.used[name] = None
        given: list[tuple[str, Value]] = [(part, self._call(getattr(module, part))) for part in needed]
        there = [part for part in optional if getattr(module, part, None) is not None]
        given += [(part, self._call(getattr(module, part))) for part in there]
        return Call(name, tuple(given), len(there))


def _inputs(cell: Cell) -> Iterator[tuple[str, nn.Module]]:
    for number in range(cell.num_inputs):
        yield "match_input", getattr(cell, f"preprocess{number}")


def _operations(cell: Cell, wiring: Wiring) -> Iterator[tuple[str, Operation]]:
    """Yield the operations of a cell that compute something, in the order in which they run."""
    for terms in wiring:
        for term in terms:
            operation = cell.named(term.key)
            if not operation.is_identity:
                yield term.key, operation


def _is_chain(cell: Cell, wiring: Wiring) -> bool:
    """True if the operations of a cell run one after another."""
    plain_input = cell.num_inputs == 1 and isinstance(cell.preprocess0, nn.Identity)
    in_row = all(len(terms) == 1 and terms[0].source == number for number, terms in enumerate(wiring))
    return plain_input and in_row and not cell.concatenates


def _class_name(cell_type: str) -> str:
    return "".join(part.capitalize() for part in re.findall(r"[A-Za-z0-9]+", cell_type)) + "Cell"


def _cell_class(name: str, cell: Cell, wiring: Wiring) -> Iterator[str]:
    """Yield the class of a type of cells; its forward pass is written out."""
    inputs = ("older", "newer") if cell.num_inputs == 2 else ("x",)
    yield from [f"class {_class_name(name)}(Cell):", f'    """A cell of the type {name}."""', ""]
    yield f"    def forward(self, {', '.join(inputs)}):"
    yield "        operation = self.operations"
    for number, state in enumerate(inputs):
        yield f"        node{number} = self.preprocess{number}({state})"
    for number, terms in enumerate(wiring, len(inputs)):
        identity = [cell.named(term.key).is_identity for term in terms]
        summands = [
            f"node{term.source}" if same else f'operation["{term.key}"](node{term.source})'
            for term, same in zip(terms, identity, strict=True)
        ]
        line = f"        node{number} = {' + '.join(summands)}"
        if len(line) <= 110:
            yield line
        else:
            yield from [f"        node{number} = (", f"            {summands[0]}"]
            yield from (f"            + {summand}" for summand in summands[1:])
            yield "        )"
    nodes = [f"node{number}" for number in range(len(inputs), len(inputs) + len(wiring))]
    together = f"torch.cat([{', '.join(nodes)}], dim=1)"
    yield f"        return {together if cell.concatenates else nodes[-1]}"
