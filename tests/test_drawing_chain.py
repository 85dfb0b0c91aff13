"""Drawings of staged networks: nothing overlaps, every layer is there, and numbers are those of the network."""

import gc
import re
import sys
import weakref
from itertools import combinations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from sparsenas.cli import main
from sparsenas.drawing import draw_genotype, draw_support_history, picture_size, primitive_style
from sparsenas.drawing.style import FAMILIES
from sparsenas.errors import GenotypeError
from sparsenas.networks import DerivedNet
from sparsenas.spaces import REFERENCES, Candidate, Genotype, StageSpace
from sparsenas.spaces.stage import ALL_TYPES, SKIP, STEMS, read_chain, stage_genotype

WIDE = StageSpace(stages=5, layers=4, types=ALL_TYPES, stems=STEMS)
CHAINS = {
    **{name: reference.genotype for name, reference in REFERENCES.items()},
    **{f"random_{seed}": WIDE.sample(np.random.default_rng(seed)) for seed in range(3)},
    "smallest": stage_genotype("conv_3x3", (1, ["conv_3x3"])),
    "deep": stage_genotype(
        "conv_3x3/stride",
        (0.25, ["mbconv_k5_e6_se*30"]),
        (4, ["conv_3x3/max_pool", *["conv_5x5", SKIP, "residual_bottleneck"] * 9, "conv_5x5", "conv_5x5"]),
        (2.25, ["sep_conv_3x3/stride*7"]),
    ),
}
chains = pytest.mark.parametrize("genotype", CHAINS.values(), ids=CHAINS)
IMAGES, CHANNELS = (3, 96, 70), 6
TIMES = "\N{MULTIPLICATION SIGN}"


def boxes(figure):
    """Every box: its extent in inches, its text, its colour, the words below it, and its shape."""
    axes, found = figure.axes[0], []
    texts = [t for t in axes.texts if t.get_text()]
    for patch in axes.get_children():
        if isinstance(patch, PathPatch) and patch.get_fill():
            extent = patch.get_path().get_extents()
            (label,) = [t for t in texts if extent.contains(*t.get_position())]
            x, y = label.get_position()
            words = [t.get_text() for t in texts if t.get_position()[0] == x and 0.1 < y - t.get_position()[1] < 0.4]
            found.append((extent, label, to_hex(patch.get_edgecolor()), "".join(words), patch))
    return found


def overlap(a, b):
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


def within(a, b):
    return b.x0 <= a.x0 and a.x1 <= b.x1 and b.y0 <= a.y0 and a.y1 <= b.y1


@chains
@pytest.mark.parametrize("known", [True, False], ids=["numbers", "relative"])
def test_texts_and_boxes_never_overlap_and_stay_inside(genotype, known):
    sizes = {"image_shape": (3, 1024, 2048), "channels": 1000, "num_classes": 21841} if known else {}
    title = "after 123456 training batches, 9 layers in 3 stages, 55.10 k parameters, 1.90 M MACs, val/acc 0.9712"
    figure = draw_genotype(genotype, title if known else None, **sizes)
    width, height = figure.get_size_inches()
    drawn = boxes(figure)
    for (a, *_), (b, *_) in combinations(drawn, 2):
        assert not overlap(a, b)
    figure.draw_without_rendering()
    to_inches = figure.dpi_scale_trans.inverted()
    texts = {t: t.get_window_extent().transformed(to_inches) for t in figure.findobj(Text) if t.get_text()}
    for a, b in combinations(texts.values(), 2):
        assert not overlap(a, b)
    page = Bbox([[0, 0], [width, height]])
    assert all(within(extent, page) for extent in [*texts.values(), *(box for box, *_ in drawn)])
    for box, label, *_, patch in drawn:
        assert within(texts[label], box)
        for text, extent in texts.items():
            assert text is label or not patch.get_path().intersects_bbox(extent)


@chains
def test_every_layer_has_its_box(genotype):
    chain = read_chain(genotype)
    expected = [chain.stem, *(layer for stage in chain.stages for layer in stage.layers)]
    figure = draw_genotype(genotype)
    drawn = []
    first, *layers, mean, linear = boxes(figure)
    assert [box[1].get_text() for box in (first, mean, linear)] == ["image", "mean of pixels", "linear"]
    for _, label, colour, words, patch in layers:
        times = re.fullmatch(rf"{TIMES}(\d+)", words)
        drawn += [(label.get_text(), colour, words if not times else "")] * (int(times[1]) if times else 1)
        left, right = (
            np.ptp([y for x, y in patch.get_path().vertices if (x > label.get_position()[0]) == side])
            for side in (False, True)
        )
        assert (left > right + 0.1) == (words in ("stride 2", "max-pool"))
    words = {None: "", "stride": "stride 2", "max_pool": "max-pool"}
    looks = [(layer, primitive_style(layer.type)) for layer in expected]
    assert drawn == [
        (look.short, look.colour, "" if again else words[layer.down])
        for layer, look in looks
        for again in range(layer.repeats)
    ]
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named == [family for hue, family in FAMILIES.items() if hue in {box[2] for box in layers}]


@chains
def test_resolutions_and_widths_are_those_of_the_network(genotype):
    network = DerivedNet(genotype, IMAGES, 4, channels=CHANNELS, cells=None).eval()
    shapes = []
    for cell in network.cells:
        last = list(cell.operations.values())[-1]
        last.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape[1:])))
    with torch.no_grad():
        network(torch.zeros(1, *IMAGES))
    texts = [t.get_text() for t in draw_genotype(genotype, **picture_size(network)).axes[0].texts]
    rows = ["Stem", *(f"Stage {number}" for number in range(1, len(shapes)))]
    facts = [texts[texts.index(row) + 1] for row in rows]
    assert facts == [f"{height}{TIMES}{width}, {channels} channels" for channels, height, width in shapes]
    assert texts[texts.index("Classifier") + 1] == "4 classes"
    assert TIMES.join(map(str, IMAGES)) in texts


@chains
def test_without_sizes_a_picture_says_how_they_grow(genotype):
    known = [t.get_text() for t in draw_genotype(genotype, None, (1, 1024, 1024), 64).axes[0].texts]
    relative = [t.get_text() for t in draw_genotype(genotype).axes[0].texts]
    for row in ["Stem", *(f"Stage {number}" for number in range(1, len(genotype.cells)))]:
        side, channels = map(
            int, re.fullmatch(rf"(\d+){TIMES}\d+, (\d+) channels", known[known.index(row) + 1]).groups()
        )
        share, factor = re.fullmatch(
            rf"(full resolution|resolution 1/\d+), width {TIMES}([\d.]+)", relative[relative.index(row) + 1]
        ).groups()
        assert side == 1024 // int(share.partition("/")[2] or 1)
        assert channels == pytest.approx(64 * float(factor), abs=1)


def test_half_known_sizes_are_half_written():
    by_images = draw_genotype(CHAINS["resnet8"], image_shape=(3, 32, 32)).axes[0].texts
    by_width = draw_genotype(CHAINS["resnet8"], channels=16).axes[0].texts
    assert f"8{TIMES}8, width {TIMES}4" in [text.get_text() for text in by_images]
    assert "resolution 1/4, 64 channels" in [text.get_text() for text in by_width]
    assert picture_size(None) == {}


@pytest.mark.slow
def test_a_figure_leaves_nothing_behind():
    figure = draw_genotype(CHAINS["resnet8"])
    gone = weakref.ref(figure)
    del figure
    gc.collect()
    assert gone() is None
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_what_is_no_staged_network_is_refused():
    with pytest.raises(GenotypeError, match="expected stem, stage1"):
        draw_genotype(Genotype.build("stage", {"stem": [Candidate(1, 0, "conv_3x3")]}))


def test_types_of_one_space_have_names_of_their_own():
    names = [candidate.primitive for block in WIDE.blocks for candidate in block.candidates]
    assert len({primitive_style(name).short for name in names}) == len(set(names))
    assert {primitive_style(name).colour for name in ALL_TYPES} == set(FAMILIES)


SPACES = {"layers": StageSpace(), "stages": StageSpace(stages=2, layers=2, types=ALL_TYPES, per="stage")}
spaces = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


@spaces
@pytest.mark.parametrize("length", [1, 40])
def test_history_of_all_stages_is_one_panel(space, length):
    rng = np.random.default_rng(0)
    supports = [space.sample_support(rng) for _ in range(length)]
    figure = draw_support_history(space.blocks, supports)
    (axes,) = figure.axes
    figure.draw_without_rendering()
    assert all(label.get_window_extent().x0 >= 0 for label in axes.get_yticklabels())
    assert all(note.get_window_extent().x1 <= figure.bbox.x1 for note in axes.texts)
    bold = sum(label.get_fontweight() == "bold" for label in axes.get_yticklabels())
    assert bold == len(space.blocks)
    assert len(axes.texts) == len(space.blocks)


def test_the_command_writes_sizes_into_a_chain_only(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ["--image_shape", "3", "32", "24", "--channels", "16", "--num_classes", "7"]
    assert main(["draw", "resnet8", "--to", "chain.svg", *sizes]) == 0
    assert (tmp_path / "chain.svg").read_text().startswith("<?xml")
    assert main(["draw", "darts_v2", "--to", "cell.png", "--channels", "16"]) == 2
    assert "--channels is for staged networks" in capsys.readouterr().err
    assert main(["draw", "resnet8", "--to", "cell.png", "--image_shape", "3", "0", "32"]) == 2
    assert "--image_shape has a number below 1" in capsys.readouterr().err
    assert not (tmp_path / "cell.png").exists()
