"""The report of a run as one page that needs no other file."""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from math import isnan, sqrt

from sparsenas.classification import BINS
from sparsenas.reporting import html
from sparsenas.reporting.evaluation import CONFIDENCE, Evaluation
from sparsenas.reporting.facts import NetworkRow, RunFacts
from sparsenas.reporting.predictions import class_rows

#: Most classes for which the confusion matrix is a table; those of more are a picture.
TABULATED = 12
#: Most classes whose counts are shown at once; those of more are folded.
UNFOLDED = 12
#: Standard errors by which two networks differ, each tested on images of its own, before chance is unlikely.
CLEAR = 2.0

_COMPETITORS = (
    "Competitors were stopped early: compare accuracies after trainings of the same length only. References are made "
    "by hand, prior ones drawn by what earlier searches found, proposed ones decoded from what was measured here."
)
_HEADS = {"f1": "F1", "average_precision": "average precision", "support": "images"}
_PARTS = {"weights": "training", "arch": "architecture", "val": "validation", "test": "test"}


def page(facts: RunFacts) -> str:
    """Format a report as HTML: no script, and no request to any other place."""
    style = files("sparsenas.reporting").joinpath("report.css").read_text(encoding="utf-8")
    title = f"{facts.title}: {facts.images}" if facts.images else facts.title
    evaluation = facts.evaluation
    body = [
        f'<header>\n<p class="kind">{html.text(facts.title)}</p>\n<h1>{html.text(facts.images or facts.title)}</h1>',
        _cards(facts),
        html.paragraph(f"This run was {facts.interrupted}." if facts.interrupted else "", "summary"),
        html.paragraph(facts.summary, "summary"),
        "</header>\n<main>",
        html.section("What was found", *_found(facts)),
        *([] if evaluation is None else [html.section("What it gets right", *_right(facts, evaluation))]),
        html.section("How it learned", html.beside(*_learned(facts))),
        html.section("What was asked", *_asked(facts)),
        html.section("How to go on", *_next(facts)),
        "</main>",
        f"<footer>{html.text(f'sparsenas {facts.version}, {facts.finished}')}</footer>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, body))
        + "\n</body>\n</html>\n"
    )


def _cards(facts: RunFacts) -> str:
    """The figures that one looks for first."""
    cards: list[tuple[str, str, str]] = []
    if facts.evaluation is not None:
        precision = facts.evaluation.report.mean_average_precision
        if precision is not None:
            cards.append((f"{facts.evaluation.words} mAP", f"{precision:.3f}", "mean average precision"))
        low, high = facts.evaluation.interval
        about = f"{low:.1%} to {high:.1%}" + (", shared weights" if facts.shared else "") + _when(facts)
        cards.append((f"{facts.evaluation.words} accuracy", f"{facts.evaluation.report.accuracy:.1%}", about))
    if facts.networks:
        found = facts.networks[0]
        cards.append(("parameters", _short(found.parameters), f"{found.parameters:,}"))
        cards.append(("MACs an image", _short(found.macs), f"{found.macs:,}"))
        if found.milliseconds is not None:
            cards.append(("milliseconds an image", f"{found.milliseconds:.2g}", "one at a time"))
    cells = "".join(
        f"<div><dt>{html.text(name)}</dt><dd><b>{html.text(value)}</b><small>{html.text(about)}</small></dd></div>\n"
        for name, value, about in cards
    )
    return f'<dl class="cards">\n{cells}</dl>' if cards else ""


def _when(facts: RunFacts) -> str:
    """Say when the figures were taken, if they are not those of the last weights."""
    of_val = facts.evaluation is not None and facts.evaluation.part == "val"
    return f", {facts.validated}" if of_val and facts.validated else ""


def _found(facts: RunFacts) -> Iterator[str]:
    if facts.networks:
        heads = ["network", "kind", "test", "validation", "trained", "parameters", "MACs", "ms"]
        caption = "The network beside those it competed with" if len(facts.networks) > 1 else "The network"
        yield html.table(caption, heads, list(map(_cells, facts.networks)), "first-marked")
        if len(facts.networks) > 1:
            yield html.paragraph(_COMPETITORS, "note")
        validation = facts.sizes.get("val")
        if validation is not None and any(row.val is not None for row in facts.networks):
            yield html.paragraph(
                f"Validation accuracies are those of {validation:,} images, of which one is {100 / validation:.2g} "
                "points: small differences are chance.",
                "note",
            )
    if facts.shared and facts.evaluation is not None:
        yield html.paragraph(
            "Accuracies of this run are those of weights that many architectures share. Train the architecture to "
            "know its own.",
            "note",
        )
    alt = f"Validation accuracies of {len(facts.networks) - 1} networks over their trainings, as in the table"
    yield html.picture(facts.pictures.get("result"), alt)
    yield html.picture(facts.pictures.get("network"), "Drawing of the architecture, layer by layer", "The architecture")


def _right(facts: RunFacts, found: Evaluation) -> Iterator[str]:
    report, images, names = found.report, len(found.labels), found.class_names
    low, high = found.interval
    error = 100 * found.standard_error
    precision = report.mean_average_precision
    yield html.pairs(
        f"On {images:,} {found.words} images{_when(facts)}",
        [
            *(
                []
                if precision is None
                else [("mean average precision", f"{precision:.4f} (mAP), the mean over labels")]
            ),
            ("accuracy", f"{report.accuracy:.2%} ± {error:.1f} points (standard error){_every(found)}"),
            (f"{CONFIDENCE:.0%} interval", f"{low:.1%} to {high:.1%} (Wilson)"),
            ("balanced accuracy", _known(report.balanced_accuracy, ".2%", ", the mean over classes")),
            ("macro-F1", _known(report.macro_f1, ".4f")),
            ("calibration error", f"{report.calibration_error:.2%} (expected, {BINS} bins)"),
            ("cross-entropy", f"{report.loss:.4f}"),
        ],
    )
    yield html.paragraph(
        f"With {images:,} images, networks that differ by less than {CLEAR * sqrt(2) * error:.1f} points cannot be "
        "told apart, unless both see the same images. Another seed would give another network.",
        "note",
    )
    if found.part == "val":
        yield html.paragraph("These images may have chosen the network: only a test is free of that.", "note")
    if report.confusion is None:  # an image has no one class to be taken for
        pass
    elif len(names) <= TABULATED:
        confusion = report.confusion.tolist()
        yield html.heat_map("Images by true class (row) and predicted class (column)", names, confusion)
    else:
        alt = f"Confusion matrix of {len(names)} classes; the file classes.csv has the figures of each class"
        yield html.picture(facts.pictures.get("confusion"), alt)
    head, *rows = class_rows(report, names, digits=3)
    by_class = html.table("Figures of each class", [_HEADS.get(str(name), str(name)) for name in head], rows)
    yield _folded(by_class, f"Figures of {len(names)} classes", len(names))
    yield _mistakes(facts)


def _known(value: float, form: str, also: str = "") -> str:
    """Format a figure of classes, which may be of no image."""
    return "not defined on these images" if isnan(value) else f"{value:{form}}{also}"


def _every(found: Evaluation) -> str:
    return ", the share of images with every label right" if found.multilabel else ""


def _mistakes(facts: RunFacts) -> str:
    if not facts.mistakes:
        return html.paragraph("It makes no mistake on these images.", "note") if facts.evaluation else ""
    items = "\n".join(
        html.picture(
            mistake.image,
            f"Image {mistake.name} of {mistake.label}, taken for {mistake.predicted}",
            f"{mistake.label} → {mistake.predicted}, {mistake.probability:.0%}",
            mistake.name,
        )
        for mistake in facts.mistakes
    )
    lead = html.paragraph("True → predicted, and its probability; images as the network sees them.", "note")
    return f'<h3>The surest mistakes</h3>\n{lead}<div class="mistakes">\n{items}\n</div>'


def _learned(facts: RunFacts) -> Iterator[str]:
    for name, metric in (("Losses", "loss"), ("Accuracies", "acc")):
        ends = [
            f"{part}: {points[0][1]:.3f} to {points[-1][1]:.3f}"
            for part, points in facts.curves.items()
            if part.endswith(metric) and len(points) > 1
        ]
        alt = f"{name} over training batches, first and last value: {', '.join(ends)}"
        yield html.picture(facts.pictures.get(metric), alt)


def _asked(facts: RunFacts) -> Iterator[str]:
    yield html.pairs("Settings", facts.asked)
    if facts.counts:
        heads = ["class", *(_PARTS.get(part, part) for part in facts.counts)]
        rows = list(zip(facts.class_names, *facts.counts.values(), strict=True))
        total = ("all", *(f"{facts.sizes[part]:,}" for part in facts.counts))
        counted = html.table("Images by class and part", heads, [total, *rows])
        yield _folded(counted, f"Images of {len(rows)} classes", len(rows))


def _next(facts: RunFacts) -> Iterator[str]:
    for remark, command in facts.commands:
        yield f"{html.paragraph(remark)}\n<pre><code>{html.text(command)}</code></pre>"
    if facts.files:
        yield html.paragraph(f"All files of the run are in {facts.files}.")


def _folded(content: str, title: str, rows: int) -> str:
    """Fold a long table below its title."""
    if rows <= UNFOLDED:
        return content
    return f"<details>\n<summary>{html.text(title)}</summary>\n{content}\n</details>"


def _cells(row: NetworkRow) -> Sequence[object]:
    accuracies = ["" if value is None else f"{value:.1%}" for value in (row.test, row.val)]
    ms = "" if row.milliseconds is None else f"{row.milliseconds:.2f}"
    return row.name, row.kind, *accuracies, row.trained, f"{row.parameters:,}", f"{row.macs:,}", ms


def _short(count: int) -> str:
    """Format a count with three digits, such as ``55.1 k``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
