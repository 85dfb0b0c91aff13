"""A trained network in Python: what it is, how good, and what to do with it."""

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from os import PathLike
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from pytorch_lightning import LightningModule

from sparsenas.api.exporting import export_trained
from sparsenas.api.pictures import Picture, Predictions, classify
from sparsenas.api.terminal import calm_terminal
from sparsenas.complexity import describe
from sparsenas.data import ImageData
from sparsenas.drawing import draw_genotype, figure_bytes, picture_size
from sparsenas.export import Manifest, Preparation
from sparsenas.networks import DerivedNet
from sparsenas.search import Searcher, SearchResult
from sparsenas.spaces import Genotype
from sparsenas.trainer import REPORT

#: Images, one by one, of which the median time counts; the first ones warm up.
TIMED, WARM = 25, 5


@dataclass(frozen=True, repr=False)
class TrainedNetwork:
    """A network that was found, or given, and trained. ``print`` shows it; a notebook draws it too.

    Attributes:
        model: The module that trained it, in evaluation mode.
        network: The network for use, on the CPU: normalised images ``(B, C, H, W)`` to logits ``(B, classes)``.
        data: The images it was trained on.
        folder: Folder of the run; ``None`` if unknown.
        checkpoint: Checkpoint of this network; ``None`` if the run wrote none of its last weights.
        accuracy: Accuracy by part, ``"val"`` and ``"test"``, as far as it was measured.
        map: Mean average precision by part, likewise; empty where images have one label.
    """

    model: LightningModule
    network: DerivedNet
    data: ImageData
    folder: Path | None = None
    checkpoint: Path | None = None
    accuracy: Mapping[str, float] = field(default_factory=dict)
    map: Mapping[str, float] = field(default_factory=dict)

    @property
    def genotype(self) -> Genotype:
        """Architecture of the network."""
        return self.network.genotype

    @property
    def result(self) -> SearchResult | None:
        """The search result; ``None`` for a network that was given, or read from a checkpoint."""
        return self.model.result if isinstance(self.model, Searcher) else None

    @property
    def report(self) -> Path | None:
        """The page about the run, ``report.html``; ``None`` if there is none."""
        path = None if self.folder is None else self.folder / REPORT
        return path if path is not None and path.is_file() else None

    @property
    def preparation(self) -> Preparation:
        """Preparation of images for the network."""
        data = self.data
        return Preparation(data.image_shape, data.mean, data.std, data.eval_resize)

    def predict(self, *images: Picture | Iterable[Picture], skip_broken: bool = False) -> Predictions:
        """Classify image files; images of another size or other channels are converted.

        Args:
            images: Files, folders, whose images at any depth are taken in order, images of Pillow, or lists of these.
            skip_broken: Leave out files that are no images.

        Returns:
            The most probable class of each: a list that also has all probabilities, and the accuracy where the folders
            of images are named as their classes.

        Raises:
            DataError: If a file is no image, or a folder has none.
        """
        return classify(
            self.network,
            self.preparation,
            self.data.class_names,
            images,
            True,
            skip_broken,
            multilabel=self.data.multilabel,
        )

    def export(
        self,
        folder: str | PathLike[str],
        formats: tuple[str, ...] = ("safetensors", "pt2"),
        fuse: bool = False,
        overwrite: bool = False,
    ) -> Manifest:
        """Write the network to files for use elsewhere, each read back and compared.

        Args:
            folder: New or empty folder.
            formats: Names of ``sparsenas.export.FORMATS``; ``safetensors`` is always written.
            fuse: Fold batch-norms into convolutions, for faster inference.
            overwrite: Replace an earlier export.

        Raises:
            ConfigError: If the folder cannot be written, or a format is unknown.
            ExportError: If a file does not compute what the trained network does.
        """
        with calm_terminal():
            return export_trained(self.network, self.model, self.data, Path(folder), formats, fuse, overwrite)

    def milliseconds(self) -> float:
        """Measure the time of one image on this CPU, median, in milliseconds."""
        image = torch.zeros(1, *self.data.image_shape)
        times = []
        with torch.inference_mode():
            for _ in range(TIMED):
                start = perf_counter()
                self.network(image)
                times.append(perf_counter() - start)
        return 1e3 * median(times[WARM:])

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of everything that ``print`` shows."""
        rows = [
            ("network", f"{describe(self.network, self.data.image_shape)}, {self.milliseconds():.1f} ms an image"),
            ("accuracy", ", ".join(f"{value:.4f} {part}" for part, value in self.accuracy.items()) or "not measured"),
        ]
        if self.map:
            rows.append(("mAP", ", ".join(f"{value:.4f} {part}" for part, value in self.map.items())))
        if self.result is not None:
            rows.append(("found", self.result.summary))
        rows += [("folder", str(self.folder))] if self.folder is not None else []
        rows += [("report", str(self.report))] if self.report is not None else []
        return rows

    def __repr__(self) -> str:
        """Format :meth:`rows` in two columns."""
        return "\n".join(f"{name:<22}{value}" for name, value in self.rows())

    def _repr_html_(self) -> str:
        """Show :meth:`rows` and a picture in a notebook."""
        table = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in self.rows())
        picture = base64.b64encode(figure_bytes(draw_genotype(self.genotype, **picture_size(self.network)))).decode()
        return f'<table>{table}</table><img alt="architecture" src="data:image/png;base64,{picture}">'
