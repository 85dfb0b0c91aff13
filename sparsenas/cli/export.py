"""The command ``export``."""

from collections.abc import Sequence
from pathlib import Path

from sparsenas.api.checkpoint import load_checkpoint
from sparsenas.api.exporting import quantisation_losses
from sparsenas.api.terminal import calm_terminal
from sparsenas.cli.outcome import command, table
from sparsenas.cli.parser import Parser
from sparsenas.export import FORMATS, Manifest, check_target, choose_formats


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
        trained = load_checkpoint(options.checkpoint, options.data_path)
        manifest = trained.export(options.to, formats, options.fuse, options.overwrite)
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


def _summary(manifest: Manifest, folder: Path) -> str:
    """Format what was written, how well it agrees, and what can be done with it."""
    rows: list[tuple[str, object]] = []
    losses, several = quantisation_losses(manifest), manifest.multilabel
    for name, record in manifest.files.items():
        words = [str(folder / name), f"{record.bytes} bytes"]
        if record.max_difference is not None:
            words.append(f"max. difference {record.max_difference:.1e}")
        if record.agreement is not None and record.agreement < 1:
            words.append(f"{record.agreement:.1%} of the images get the same {'labels' if several else 'class'}")
        if name in losses:
            words.append(f"{100 * losses[name]:.1f} points of val {'mAP' if several else 'accuracy'} lost")
        if record.milliseconds is not None:
            words.append(f"{record.milliseconds:.2f} ms an image")
        rows.append(("file", "  ".join(words)))
    for part, found in manifest.accuracy.items():
        if found is not None:
            if found.map is not None:
                rows.append((f"{part} mAP", f"{found.map:.4f}"))
            rows.append((f"{part} accuracy", f"{found.accuracy:.4f} of {found.images} images"))
    chosen = manifest.calibration
    if chosen is not None:
        error = f"calibration error {chosen.before:.4f} before, {chosen.after:.4f} after"
        rows.append(("temperature", f"{chosen.temperature:.3g}: {error}"))
    rows.append(("compared on", f"{manifest.compared_images} images, one image at a time timed in one thread"))
    rows.append(("next", command("predict", folder, "IMAGE.png")))
    return table(rows)
