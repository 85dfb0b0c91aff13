"""Plain PyTorch that ``model.py`` of an export is made of: its source is copied, so it imports no sparsenas."""

import json
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import nn
from torch.nn import functional

#: Each export has values of its own.
MODE, HEIGHT, WIDTH = "RGB", 32, 32
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
RESIZE: int | str | None = None
DTYPES = {"F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "I64": torch.int64}


class Operation(nn.Module):
    """An operation on an edge: ``norm(body(x))``."""

    def __init__(self, body: nn.Module, norm: nn.Module | None = None) -> None:
        super().__init__()
        self.body = body
        self.norm = norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        y: torch.Tensor = self.body(x)
        return y if self.norm is None else self.norm(y)


class Layer(nn.Module):
    """A layer of a chain: ``relu(norm(body(x)) + shortcut(x))``; a part that is None is left out."""

    def __init__(
        self,
        body: nn.Module,
        norm: nn.Module | None = None,
        shortcut: nn.Module | None = None,
        relu: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.norm = norm
        self.shortcut = shortcut
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        y: torch.Tensor = self.body(x)
        if self.norm is not None:
            y = self.norm(y)
        if self.shortcut is not None:
            y = y + self.shortcut(x)
        return y if self.relu is None else self.relu(y)


class FactorizedReduce(nn.Module):
    """Halve the resolution by two 1x1 convolutions, on the even and on the odd pixels."""

    def __init__(self, even: nn.Module, odd: nn.Module) -> None:
        super().__init__()
        self.even = even
        self.odd = odd

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        x = functional.relu(x)
        padded = functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2))
        return torch.cat([self.even(x[:, :, ::2, ::2]), self.odd(padded[:, :, 1::2, 1::2])], dim=1)


class Zero(nn.Module):
    """Zeros of the size of an operation's output."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return x[:, :, :: self.stride, :: self.stride] * 0.0


class EverySecondPixel(nn.Module):
    """Pixels that a 1x1 convolution of stride 2 sees."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return x[:, :, ::2, ::2]


class Residual(nn.Module):
    """``main(x) + shortcut(x)``."""

    def __init__(self, main: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.main = main
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        y: torch.Tensor = self.main(x) + self.shortcut(x)
        return y


class SqueezeExcitation(nn.Module):
    """Scale channels by what their means say."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        gates: torch.Tensor = self.gate(x.mean((2, 3), keepdim=True))
        return x * gates


class Stem(nn.Module):
    """Maps images to the inputs of the first cell; without a second part, two inputs are equal."""

    def __init__(self, first: nn.Module, second: nn.Module | None = None) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: D102
        first = self.first(images)
        return first, first if self.second is None else self.second(first)


class Cell(nn.Module):
    """Operations between nodes; a name such as ``0_2_conv`` says: from node 0 to node 2. Inputs are the first nodes."""

    def __init__(self, inputs: list[nn.Module], operations: dict[str, nn.Module]) -> None:
        super().__init__()
        for number, module in enumerate(inputs):
            self.add_module(f"preprocess{number}", module)
        self.operations = nn.ModuleDict(operations)


class Chain(nn.Module):
    """Operations one after another, in the order in which they are given."""

    def __init__(self, operations: dict[str, nn.Module]) -> None:
        super().__init__()
        self.operations = nn.ModuleDict(operations)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        for operation in self.operations.values():
            x = operation(x)
        return x


def read_weights(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file: the length of a header, the header in JSON, then the numbers."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        numbers = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            tensor = torch.frombuffer(numbers[begin:end], dtype=DTYPES[entry["dtype"]])
            tensors[name] = tensor.reshape(entry["shape"])
    return tensors


def prepare(image: Image.Image) -> torch.Tensor:
    """Turn an image of Pillow upright, bring it to size and normalise it: shape ``(C, H, W)``."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):  # grey levels of 16 bits
        levels = torch.frombuffer(bytearray(image.convert("I").tobytes()), dtype=torch.int32)
        image = Image.frombytes("L", image.size, bytes(((levels + 128) // 257).tolist()))
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"pixels of mode {image.mode}; scale them to 8 bits first")
    if image.mode != MODE:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB").convert(MODE)
    bilinear = Image.Resampling.BILINEAR
    if RESIZE is None:
        image = ImageOps.fit(image, (WIDTH, HEIGHT), bilinear)
    elif RESIZE == "squash":
        image = image.resize((WIDTH, HEIGHT), bilinear)
    else:
        if isinstance(RESIZE, str):  # "pad": the whole, its shape kept
            scale = min(HEIGHT / image.height, WIDTH / image.width)
            size = max(1, round(scale * image.width)), max(1, round(scale * image.height))
        else:  # so large that the centre can be cut out
            wide, high = (round(RESIZE * side / min(WIDTH, HEIGHT)) for side in (WIDTH, HEIGHT))
            if image.height * wide >= image.width * high:
                size = wide, wide * image.height // image.width
            else:
                size = high * image.width // image.height, high
        image = image.resize(size, bilinear)
        left, top = (
            round((side - cut) / 2) if side >= cut else -((cut - side) // 2)
            for side, cut in zip(image.size, (WIDTH, HEIGHT), strict=True)
        )
        image = image.crop((left, top, left + WIDTH, top + HEIGHT))  # black where there is nothing
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    pixels = pixels.reshape(HEIGHT, WIDTH, len(MEAN)).permute(2, 0, 1).float()
    mean, std = (255 * torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (pixels - mean) / std
