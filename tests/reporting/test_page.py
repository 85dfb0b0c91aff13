"""The page is whole in itself, can be read aloud, and shows texts of users as texts."""

from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from sparsenas.drawing import draw_confusion, draw_curves, draw_mistakes, figure_bytes
from sparsenas.reporting import Evaluation, Mistake, NetworkRow, RunFacts, page

HOSTILE = (
    '<script>alert("x")</script>',
    "cats & dogs",
    "'\"> <img src=x onerror=y>",
    "Ge\u0301nie\nline",
    "{0} $x$ %s",
)
#: Elements that have no end.
VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Elements and texts of a page, whose elements must nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def facts(class_names=HOSTILE, count=200):
    generator = torch.Generator().manual_seed(0)
    classes = len(class_names)
    labels = torch.randint(classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator) + 2 * torch.eye(classes)[labels]
    names = [f"{class_names[label]}/{number}.png" for number, label in enumerate(labels.tolist())]
    pixel = b"\x89PNG"
    return RunFacts(
        title="TournamentSearch",
        images=class_names[0],
        asked=[("budget", "max_params 5"), ("images", class_names[2])],
        counts={"weights": [3] * classes, "test": [1] * classes},
        sizes={"weights": 3 * classes, "test": classes},
        class_names=class_names,
        summary=f"found {class_names[1]}",
        networks=[NetworkRow(name=name, kind="found", parameters=10, macs=20) for name in class_names],
        curves={"val/acc": [(1, 0.25), (2, 0.75)]},
        evaluation=Evaluation("test", torch.arange(count), logits, labels, class_names, names, True),
        mistakes=[Mistake(pixel, names[0], class_names[0], class_names[1], 0.9)],
        pictures=dict.fromkeys(("network", "loss", "acc", "confusion"), pixel),
        commands=[("Go on.", f"python -m sparsenas predict {class_names[2]}")],
    )


def test_texts_of_users_stay_texts_and_nothing_is_requested():
    made = page(facts())
    read = Reader(made)
    assert read.all("script") == read.all("link") == []
    assert {image["src"][:22] for image in read.all("img")} == {"data:image/png;base64,"}
    assert all(image["alt"] for image in read.all("img"))
    assert not {"onerror", "onload"} & {name for _, attributes in read.elements for name in attributes}
    assert "http" not in made
    assert "url(" not in made
    for name in (HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[4], "G\u00e9nie\\nline"):
        assert name in read.texts


def test_tables_can_be_read_aloud():
    read = Reader(page(facts()))
    tables = len(read.all("table"))
    assert len(read.all("caption")) == tables
    heads = read.all("th")
    assert {head.get("scope") for head in heads} == {"row", "col"}
    assert read.all("html") == [{"lang": "en"}]
    assert [tag for tag, _ in read.elements if tag in ("h1", "h2", "h3")][:2] == ["h1", "h2"]


def test_figures_are_those_of_another_library():
    given = facts()
    found = given.evaluation
    labels, predicted = found.labels.numpy(), found.logits.argmax(1).numpy()
    texts = Reader(page(given)).texts
    assert f"{balanced_accuracy_score(labels, predicted):.2%}, the mean over classes" in texts
    assert f"{f1_score(labels, predicted, average='macro'):.4f}" in texts
    right, count, z = (labels == predicted).sum(), len(labels), 1.959964
    middle, spread = (right + z**2 / 2) / (count + z**2), z * np.sqrt(right * (count - right) / count + z**2 / 4)
    assert found.interval == pytest.approx([middle + sign * spread / (count + z**2) for sign in (-1, 1)], abs=1e-6)
    assert found.standard_error == pytest.approx((found.interval[1] - found.interval[0]) / (2 * 1.959964))


def test_many_classes_are_folded_and_their_confusion_is_a_picture():
    read = Reader(page(facts(tuple(f"class {number}" for number in range(60)))))
    assert len(read.all("details")) == 2
    assert not [table for table in read.all("table") if table.get("class") == "heat"]


def test_a_run_of_which_little_is_known_has_a_page():
    read = Reader(page(RunFacts(title="Search", images="", asked=[], counts={}, class_names=())))
    assert "Search" in read.texts


@pytest.mark.parametrize("classes", [2, 15, 70])
def test_pictures_take_any_number_of_classes_and_any_name(classes):
    names = ([*HOSTILE, "$x^2$ with a very long name"] * 12)[:classes]
    confusion = np.full((classes, classes), 1234)
    assert figure_bytes(draw_confusion(confusion, names, "Test"))[:4] == b"\x89PNG"
    assert figure_bytes(draw_curves({"train/loss": [(1, 2.0)]}, "loss"))[:4] == b"\x89PNG"
    assert draw_mistakes([], [], "none").width == draw_mistakes([], [], "x").width
