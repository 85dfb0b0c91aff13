"""Drawings: nothing overlaps, everything is named, files are whole."""

import os
import subprocess
import sys
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Rectangle
from matplotlib.text import Annotation, Text

from sparsenas.drawing import (
    TournamentLine,
    draw_genotype,
    draw_support_history,
    draw_tournament,
    figure_bytes,
    primitive_style,
    save_figure,
)
from sparsenas.drawing.layout import cell_layout
from sparsenas.errors import ConfigError, GenotypeError
from sparsenas.spaces import (
    DARTS_PRIMITIVES,
    PUBLISHED,
    Candidate,
    DartsSpace,
    Genotype,
    NasBench201Space,
    NasBenchMacroSpace,
    WeightSharing64Space,
)

SAME_EDGE = Genotype.build(
    "darts",
    {
        "normal": [Candidate(t, s, p) for t, s in ((2, 0), (3, 1)) for p in ("sep_conv_3x3", "skip_connect")],
        "reduce": [Candidate(2, 0, "a_primitive_of_mine"), Candidate(2, 1, "skip_connect")],
    },
)
GENOTYPES = {
    **PUBLISHED,
    "same_edge": SAME_EDGE,
    **{f"{nodes}_nodes": DartsSpace(nodes=nodes).sample(np.random.default_rng(nodes)) for nodes in (1, 2, 5, 8)},
    "nasbench201": NasBench201Space().sample(np.random.default_rng(0)),
    "weight_sharing64": WeightSharing64Space().from_string("124"),
    "nasbench_macro": NasBenchMacroSpace().from_string("22212202"),
}


def boxes(figure):
    """Rectangles of all nodes and candidates, in inches."""
    return [p.get_bbox().frozen() for p in figure.axes[0].get_children() if isinstance(p, FancyBboxPatch)]


def overlap(a, b):
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1


@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_nodes_and_labels_never_overlap_and_stay_inside(genotype):
    title = "after 123456 training batches, 20 cells, 3.32 M parameters, 0.52 G MACs, val/acc 0.9712"
    figure = draw_genotype(genotype, title=title)
    width, height = figure.get_size_inches()
    rectangles = boxes(figure)
    for a, b in combinations(rectangles, 2):
        assert not overlap(a, b)
    assert all(r.x0 >= 0 and r.y0 >= 0 and r.x1 <= width and r.y1 <= height for r in rectangles)
    figure.draw_without_rendering()
    texts = [t.get_window_extent() for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    for a, b in combinations(texts, 2):
        assert not overlap(a, b)
    assert all(text.x0 >= 0 and text.x1 <= width * figure.dpi for text in texts)


@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_every_label_fits_its_box(genotype):
    figure = draw_genotype(genotype)
    figure.draw_without_rendering()
    names = {primitive_style(c.primitive).short for _, cell in genotype.cells for c in cell}
    labels = [t for t in figure.axes[0].texts if t.get_text() in names]
    assert len(labels) == sum(len(cell) for _, cell in genotype.cells)
    for label in labels:
        extent = label.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        assert any(
            b.x0 < extent.x0 and extent.x1 < b.x1 and b.y0 < extent.y0 and extent.y1 < b.y1 for b in boxes(figure)
        )


@pytest.mark.parametrize("genotype", GENOTYPES.values(), ids=GENOTYPES)
def test_layout_keeps_columns_apart_and_edges_forward(genotype):
    for _, candidates in genotype.cells:
        layout = cell_layout(candidates)
        for column in layout.columns:
            for upper, lower in pairwise(column):
                assert upper.y - lower.y >= (upper.size + lower.size) / 2 - 1e-6
        drawn = sorted(v.candidate for column in layout.columns for v in column if v.candidate)
        assert drawn == sorted(candidates)
        for chain in layout.chains:
            assert all(b.column == a.column + 1 for a, b in pairwise(chain))
        computed = {c.target for c in candidates}
        assert {chain[0].node for chain in layout.chains if chain[-1].kind == "output"} == computed


@pytest.mark.parametrize(
    ("name", "lines", "text"),
    [("darts_v2", 8, "concatenation"), ("weight_sharing64", 2, "concatenation"),
     ("nasbench201", 1, "output"), ("nasbench_macro", 1, "output")],
)  # fmt: skip
def test_the_output_is_that_of_the_network(name, lines, text):
    genotype = GENOTYPES[name]
    figure = draw_genotype(genotype)
    assert figure.legends[0].get_texts()[-1].get_text() == text
    grey = to_hex(figure.legends[0].get_lines()[-1].get_color())
    curves = [
        p for p in figure.axes[0].get_children() if isinstance(p, PathPatch) and to_hex(p.get_edgecolor()) == grey
    ]
    assert len(curves) == lines


@pytest.mark.parametrize("space", [NasBench201Space(), NasBenchMacroSpace()], ids=lambda space: space.name)
def test_history_of_a_space_with_one_input(space):
    rng = np.random.default_rng(0)
    history = [space.sample_support(rng) for _ in range(6)]
    axes = draw_support_history(space.blocks, history).axes[0]
    kept = {block.candidates[i] for s in history for block, row in zip(space.blocks, s, strict=True) for i in row}
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == len(kept)
    assert labels[0].startswith("cₖ₋₁→1")
    notes = [text.get_text() for text in axes.texts]
    assert notes == [f"node {node}" for node in sorted({candidate.target for candidate in kept})]


def test_all_primitives_stand_in_the_legend_with_their_full_name():
    legend = draw_genotype(SAME_EDGE).legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["sep_conv_3x3", "skip_connect", "a_primitive_of_mine", "concatenation"]
    assert to_hex(legend.get_lines()[0].get_color()) == primitive_style("sep_conv_3x3").colour


def test_known_primitives_differ_in_colour_and_line():
    styles = [primitive_style(name) for name in DARTS_PRIMITIVES]
    assert len({s.colour for s in styles}) == len({s.dashes for s in styles}) == len({s.short for s in styles}) == 7


@pytest.mark.slow
def test_unknown_primitives_look_the_same_in_every_process():
    program = "from sparsenas.drawing import primitive_style; print(primitive_style('ghost_conv').colour)"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, env=environment).stdout
    assert output.decode().strip() == primitive_style("ghost_conv").colour
    assert len({primitive_style(f"primitive_{i}").colour for i in range(20)}) >= 18
    assert len(primitive_style("x" * 100).short) <= 16


def test_same_genotype_gives_the_same_picture():
    assert figure_bytes(draw_genotype(SAME_EDGE)) == figure_bytes(draw_genotype(SAME_EDGE))


def history(space, length, seed=0):
    rng = np.random.default_rng(seed)
    return [space.sample_support(rng) for _ in range(length)]


def test_labels_of_own_primitives_are_inside_the_picture_of_the_history():
    blocks = [replace(block, candidates=tuple(map(own, block.candidates))) for block in DartsSpace(nodes=1).blocks]
    figure = draw_support_history(blocks, [((0, 9), (1, 10))])
    labels = [label for axes in figure.axes for label in axes.get_yticklabels()]
    assert all(label.get_text().endswith("gated conv 3x3") for label in labels)
    assert min(label.get_window_extent(FigureCanvasAgg(figure).get_renderer()).x0 for label in labels) >= 0


def own(candidate):
    return candidate._replace(primitive="my_own_primitives:gated_conv_3x3")


def test_history_shows_each_candidate_when_it_was_kept():
    space = DartsSpace(nodes=1, primitives=("sep_conv_3x3", "skip_connect"))
    supports = [((0, 2), (1, 3)), ((0, 3), (1, 3))]
    normal, reduce = draw_support_history(space.blocks, supports).axes
    assert [label.get_text() for label in normal.get_yticklabels()] == [
        f"cₖ₋₂→2  {primitive_style('sep_conv_3x3').short}",
        f"cₖ₋₁→2  {primitive_style('sep_conv_3x3').short}",
        "cₖ₋₁→2  skip",
    ]
    assert [label.get_fontweight() for label in normal.get_yticklabels()] == ["bold", "normal", "bold"]
    image = normal.get_images()[0].get_array()
    empty = np.array([0xF1, 0xF3, 0xF5]) / 255
    kept = ~np.isclose(image, empty).all(axis=2)
    assert kept.tolist() == [[True, True], [True, False], [False, True]]
    assert to_hex(image[0, 0]) == primitive_style("sep_conv_3x3").colour
    assert len(reduce.get_yticklabels()) == 2


@pytest.mark.parametrize("length", [1, 5, 200, 1500])
def test_history_of_any_length_keeps_its_labels_apart(length):
    space = DartsSpace()
    figure = draw_support_history(space.blocks, history(space, length), [i // 7 for i in range(length)])
    figure.draw_without_rendering()
    for axes in figure.axes:
        rows = [label.get_window_extent() for label in axes.get_yticklabels()]
        assert all(a.y0 >= b.y1 - 1 for a, b in pairwise(rows))
        assert all(extent.x0 >= 0 for extent in rows)
        ticks = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(a.x1 <= b.x0 for a, b in pairwise(ticks))


def test_long_histories_leave_out_rows_and_say_so():
    space = DartsSpace()
    supports = history(space, 300)
    figure = draw_support_history(space.blocks, supports, max_rows=20)
    for number, axes in enumerate(figure.axes):
        assert len(axes.get_yticklabels()) == 20
        assert axes.get_title(loc="right") == "78 more candidates, kept more briefly, are not shown"
        bold = sum(label.get_fontweight() == "bold" for label in axes.get_yticklabels())
        assert bold == sum(len(kept) for kept in supports[-1][4 * number : 4 * number + 4])


def test_history_refuses_what_does_not_fit():
    blocks = DartsSpace(nodes=1).blocks
    with pytest.raises(ConfigError, match="support history: empty"):
        draw_support_history(blocks, [])
    with pytest.raises(ConfigError, match="one entry for each of the 2 blocks"):
        draw_support_history(blocks, [((0, 7),)])
    with pytest.raises(ConfigError, match="3 epochs for 1 recoveries"):
        draw_support_history(blocks, [((0, 7), (0, 7))], [0, 1, 2])


def frames(axes):
    """Column and row of every framed field."""
    return {(int(p.get_x()), int(p.get_y())) for p in axes.patches if isinstance(p, Rectangle)}


TOURNAMENT = [
    TournamentLine("proposed 7", (2.0, 6.0), (0.5, 0.8), is_reference=False),
    TournamentLine("resnet8", (2.0, 6.0), (0.6, 0.7), is_reference=True),
    TournamentLine("random 3", (2.0,), (0.2,), is_reference=False),
]


def test_a_tournament_is_a_line_for_each_network():
    (axes,) = draw_tournament(TOURNAMENT, "seconds", end=(20.0, 0.9)).axes
    lines = [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.get_lines()]
    found = ([2.0, 6.0, 20.0], [50.0, 80.0, 90.0])
    assert lines == [([2.0], [20.0]), ([2.0, 6.0], [60.0, 70.0]), found]  # the last one lies above
    assert len({line.get_color() for line in axes.get_lines()}) == 3
    assert axes.get_xlabel() == "seconds of training"
    names = {text.get_text(): text.xy for text in axes.texts if isinstance(text, Annotation)}
    assert names == {"proposed 7": (20.0, 90.0), "resnet8": (6.0, 70.0), "random 3": (2.0, 20.0)}


@pytest.mark.parametrize("lines", [TOURNAMENT, [TournamentLine("resnet8", (), (), is_reference=True)]])
def test_texts_of_a_tournament_stay_inside(lines):
    figure = draw_tournament(lines, "steps")
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    for text in (text.get_window_extent() for text in figure.axes[0].texts):
        assert text.x0 >= 0
        assert text.y0 >= 0
        assert text.x1 <= width
        assert text.y1 <= height


def test_names_of_networks_that_stopped_together_do_not_touch():
    stopped = [(1.9 + 0.01 * number, 0.6 + 0.001 * (number * 5 % 7)) for number in range(7)]
    lines = [
        TournamentLine(f"proposed {number}", (length,), (value,), is_reference=False)
        for number, (length, value) in enumerate(stopped)
    ]
    figure = draw_tournament([*lines, TournamentLine("ds_cnn", (1.9,), (0.2,), is_reference=True)], "seconds")
    figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    by_height = sorted(names, key=lambda text: text.get_window_extent().y0)
    for below, above in pairwise(by_height):
        assert above.get_window_extent().y0 >= below.get_window_extent().y1
    order = sorted(range(7), key=lambda number: stopped[number][1])
    assert [text.get_text() for text in by_height if "proposed" in text.get_text()] == [f"proposed {n}" for n in order]


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_save_figure_writes_by_suffix_and_leaves_nothing_else(tmp_path, suffix, start):
    path = save_figure(draw_genotype(SAME_EDGE), tmp_path / f"cell.{suffix}")
    assert path.read_bytes().startswith(start)
    assert os.listdir(tmp_path) == [f"cell.{suffix}"]


@pytest.mark.parametrize("name", ["cell.jpg", "cell"])
def test_save_figure_refuses_other_suffixes(tmp_path, name):
    with pytest.raises(ConfigError, match=r"cannot draw to .*use one of \.png, \.svg, \.pdf"):
        save_figure(Figure(), tmp_path / name)


def test_save_figure_names_the_folder_it_cannot_write(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.*cell\.png: cannot write \(No such file.*writable folder"):
        save_figure(Figure(), tmp_path / "nowhere" / "cell.png")
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(ConfigError, match="cannot write"):
        save_figure(Figure(), tmp_path / "taken.png")
    assert os.listdir(tmp_path) == ["taken.png"]


def test_a_cell_with_too_many_nodes_is_refused_at_once():
    genotype = Genotype.build("darts", {"normal": [Candidate(20_000, source, "skip_connect") for source in (0, 1)]})
    with pytest.raises(GenotypeError, match=r"genotype: has node 20000; a picture shows at most 200"):
        draw_genotype(genotype)
