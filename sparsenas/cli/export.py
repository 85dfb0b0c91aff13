"""The command ``export``."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from sparsenas.cli.outcome import command, table
from sparsenas.cli.parser import Parser
from sparsenas.cli.rebuild import Trained, rebuild
from sparsenas.cli.terminal import calm_terminal
from sparsenas.data import ImageData
from sparsenas.data.sources import PartName
from sparsenas.export import (
    FORMATS,
    Accuracy,
    Description,
    Manifest,
    Preparation,
    check_target,
    choose_formats,
    export_network,
)

#: Images on which every file is compared with the checkpoint's network.
COMPARED_IMAGES = 256


def export(args: Sequence[str]) -> int:
    """Export a checkpoint to files for use elsewhere.

    Args:
        args: Arguments after the command.

    Returns:
        Exit code 0.

    Raises:
        SparseNASError: If the user is to change something; nothing has been written then.
    """
    options = _parser().parse_args(args)
    formats = tuple(name.strip() for name in options.formats.split(","))
    choose_formats(formats)  # what is missing or in the way is found out before any work
    check_target(options.to, options.overwrite)
    with calm_terminal():
        trained = rebuild(options.checkpoint, options.data_path)
        manifest = export_network(
            trained.network,
            trained.model,
            _first_images(trained.data),
            _description(trained),
            options.to,
            formats=formats,
            fuse=options.fuse,
            overwrite=options.overwrite,
        )
    print(_summary(manifest, options.to))
    return 0


def _parser() -> Parser:
    parser = Parser(
        prog="python -m sparsenas export",
        description="Export the trained network of a checkpoint. Every file is read back and compared with the "
        "checkpoint's network on validation images; if one differs, nothing is written.",
        allow_abbrev=False,
    )
    parser.add_argument("checkpoint", metavar="CKPT", type=Path, help="checkpoint of a one-stage search or a training")
    parser.add_argument("--to", metavar="DIR", type=Path, required=True, help="folder to write, new or empty")
    parser.add_argument(
        "--formats",
        metavar="NAMES",
        default="safetensors,pt2",
        help=f"of {', '.join(FORMATS)}, with commas between (default: %(default)s); safetensors is always written",
    )
    parser.add_argument("--fuse", action="store_true", help="fold batch-norms into convolutions, for faster inference")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier export in the folder")
    parser.add_argument("--data-path", metavar="PATH", help="where the images are now, if they have moved")
    return parser


def _description(trained: Trained) -> Description:
    data = trained.data
    return Description(
        preparation=Preparation(data.image_shape, data.mean, data.std, data.eval_resize),
        class_names=data.class_names,
        # both are only reported: the network is what it is
        accuracy={part: _accuracy(trained.model, data, part) for part in ("val", "test")},
    )


@torch.no_grad()
def _accuracy(model: Callable[[Tensor], Tensor], data: ImageData, part: PartName) -> Accuracy | None:
    if not data.has(part):
        return None
    right = images = 0
    for batch, labels in data.evaluation_batches(part):
        right += int((model(batch).argmax(1) == labels).sum())
        images += len(labels)
    return Accuracy(right / images, images)


def _first_images(data: ImageData) -> Tensor:
    """Some validation images; of data without any, training images."""
    batches: Iterator[Tensor] = (images for images, _ in data.evaluation_batches("val" if data.has("val") else "train"))
    enough = -(-COMPARED_IMAGES // data.eval_batch_size)
    return torch.cat(list(islice(batches, enough)))[:COMPARED_IMAGES]


def _summary(manifest: Manifest, folder: Path) -> str:
    """What was written, how well it agrees, and what can be done with it."""
    rows: list[tuple[str, object]] = []
    for name, record in manifest.files.items():
        agreement = "" if record.max_difference is None else f"  max. difference {record.max_difference:.1e}"
        rows.append(("file", f"{folder / name}  {record.bytes} bytes{agreement}"))
    for part, found in manifest.accuracy.items():
        if found is not None:
            rows.append((f"{part} accuracy", f"{found.accuracy:.4f} of {found.images} images"))
    rows.append(("compared on", f"{manifest.compared_images} images"))
    rows.append(("next", command("predict", folder, "IMAGE.png")))
    return table(rows)
