"""NAS-Bench-201, NAS-Bench-Macro and the 64 cells: their strings and formulas against the published tables."""

import csv
import gzip
import os
from pathlib import Path

import pytest

from sparsenas.errors import GenotypeError
from sparsenas.spaces import (
    Candidate,
    Genotype,
    NasBench201Space,
    NasBenchMacroSpace,
    WeightSharing64Space,
    read_genotype,
)

DATA = os.environ.get("SPARSENAS_DATA")
needs_tables = pytest.mark.skipif(DATA is None, reason="SPARSENAS_DATA names no folder with the published tables")

NB201 = NasBench201Space()
RESNET = "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"


def table(name):
    with gzip.open(Path(DATA, f"{name}.csv.gz"), "rt") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def nasbench201():
    rows = table("nasbench201")
    return [(row, NB201.from_string(row["arch"])) for row in rows]


@needs_tables
def test_strings_of_nasbench201(nasbench201):
    assert len({genotype for _, genotype in nasbench201}) == 15_625
    assert all(NB201.to_string(genotype) == row["arch"] for row, genotype in nasbench201)


@needs_tables
def test_formulas_of_nasbench201(nasbench201):
    for row, genotype in nasbench201:
        assert f"{NB201.parameters(genotype) / 1e6:.6f}" == f"{float(row['params_m']):.6f}"
        assert NB201.flops(genotype) / 1e6 == pytest.approx(float(row["flops_c10_m"]), abs=6e-5)  # four decimals


@needs_tables
def test_isomorphism_of_nasbench201(nasbench201):
    pairs = {(row["iso_class"], NB201.isomorphism(genotype)) for row, genotype in nasbench201}
    classes, forms = {published for published, _ in pairs}, {form for _, form in pairs}
    assert len(pairs) == len(classes) == len(forms) == 6_466


def test_isomorphism_by_hand():
    form = {
        text: NB201.isomorphism(NB201.from_string(text))
        for text in (
            "|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|none~1|avg_pool_3x3~2|",
            "|none~0|+|skip_connect~0|none~1|+|none~0|nor_conv_1x1~1|avg_pool_3x3~2|",
            "|skip_connect~0|+|none~0|none~1|+|none~0|avg_pool_3x3~1|none~2|",
            "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_1x1~1|none~2|",
        )
    }
    first, second, third, fourth = form.values()
    assert first == second == "#+#+(#+0)@avg_pool_3x3"
    assert third == "#+#+(0)@avg_pool_3x3"
    assert fourth == "#+#+(0)@nor_conv_1x1"


def test_a_cell_of_nasbench201():
    genotype = NB201.from_string(RESNET)
    assert genotype.cell("normal")[-3:] == (
        Candidate(3, 0, "skip_connect"), Candidate(3, 1, "nor_conv_3x3"), Candidate(3, 2, "nor_conv_3x3"),
    )  # fmt: skip
    assert read_genotype(RESNET) == genotype
    assert NB201.parameters(genotype) == 73_306 + 5 * 243_040
    assert str(NB201.blocks[0]) == "normal cell"
    assert NB201.blocks[0].edges == ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))


@pytest.mark.parametrize(
    "text",
    [
        "",
        RESNET[:-1],
        RESNET + " ",
        RESNET + "+|none~0|",
        RESNET.replace("skip_connect", "sep_conv_3x3"),
        RESNET.replace("skip_connect~0", "skip_connect~1"),
        RESNET.replace("skip_connect~0|nor_conv_3x3~1", "nor_conv_3x3~1|skip_connect~0"),
        RESNET.replace("|skip_connect~0", ""),
        "|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~1|",
        RESNET.replace("~2", "~3"),
        RESNET.replace("~2", "~\N{SUPERSCRIPT TWO}"),
        RESNET.replace("~2", "~\N{ARABIC-INDIC DIGIT TWO}"),
        "+".join(reversed(RESNET.split("+"))),
    ],
)
def test_strings_that_are_no_cell_of_nasbench201(text):
    with pytest.raises(GenotypeError, match=r"is no NAS-Bench-201 cell; expected \|op~0\|\+"):
        NB201.from_string(text)


def test_cells_that_miss_an_edge():
    cell = NB201.from_string(RESNET).cell("normal")
    with pytest.raises(GenotypeError, match="normal cell keeps 5 candidates; expected 6"):
        NB201.to_string(Genotype.build("nasbench201", {"normal": cell[1:]}))
    with pytest.raises(GenotypeError, match="normal cell keeps two candidates on one edge"):
        NB201.parameters(Genotype.build("nasbench201", {"normal": [*cell[1:], Candidate(2, 0, "none")]}))
    with pytest.raises(GenotypeError, match=r"is not in the space \(nodes 1 to 3, primitives none, skip_connect"):
        NB201.validate(Genotype.build("nasbench201", {"normal": [*cell, Candidate(4, 0, "none")]}))


@needs_tables
def test_labels_of_the_64_cells():
    space = WeightSharing64Space()
    for row in table("weight_sharing_64"):
        genotype = space.from_string(row["label"])
        assert space.to_string(genotype) == row["label"]


def test_a_label_names_the_edges_in_order():
    assert WeightSharing64Space().from_string("124").cell("normal") == (
        Candidate(1, 0, "max_pool_3x3"), Candidate(2, 0, "sep_conv_3x3"), Candidate(2, 1, "dil_conv_5x5"),
    )  # fmt: skip


@needs_tables
def test_strings_of_nasbench_macro():
    space = NasBenchMacroSpace()
    texts = [row["arch"] for row in table("nasbench_macro")]
    assert len({space.from_string(text) for text in texts}) == 6_561
    assert [space.to_string(space.from_string(text)) for text in texts] == texts


@pytest.mark.parametrize("text", ["", "11", "0123", "105", "1 1", "\N{SUPERSCRIPT TWO}11"])
def test_labels_that_are_none(text):
    with pytest.raises(GenotypeError, match="is no label of a cell; expected three digits 1 to 4"):
        WeightSharing64Space().from_string(text)


@pytest.mark.parametrize("text", ["", "0000000", "000000000", "00000003", "0000000\N{SUPERSCRIPT TWO}"])
def test_strings_that_are_no_network_of_nasbench_macro(text):
    with pytest.raises(GenotypeError, match="is no NAS-Bench-Macro network; expected 8 digits 0 to 2"):
        NasBenchMacroSpace().from_string(text)
