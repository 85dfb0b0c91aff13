"""Genotypes: identity, JSON, the field's printed form, and messages for what is neither."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsenas.errors import GenotypeError
from sparsenas.spaces import PUBLISHED, Candidate, Genotype

PRINTED = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0)], normal_concat={concat}, "
    "reduce=[('max_pool_3x3', 0), ('dil_conv_5x5', 1)], reduce_concat={concat})"
)
SMALL = Genotype.build(
    "darts",
    {
        "normal": [Candidate(2, 0, "skip_connect"), Candidate(2, 1, "sep_conv_3x3")],
        "reduce": [Candidate(2, 0, "max_pool_3x3"), Candidate(2, 1, "dil_conv_5x5")],
    },
)

candidates = st.integers(1, 9).flatmap(
    lambda target: st.builds(Candidate, st.just(target), st.integers(0, target - 1), st.text(max_size=8))
)
members = st.lists(candidates, min_size=1, max_size=8, unique=True)
cells = st.dictionaries(st.text(max_size=5), members, min_size=1, max_size=3)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(space=st.text(max_size=5), cells=cells)
def test_json_round_trip(space, cells):
    genotype = Genotype.build(space, cells)
    assert Genotype.from_json(genotype.to_json()) == genotype
    assert json.loads(genotype.to_json())["schema"] == "sparsenas.genotype/1"


@settings(max_examples=40, deadline=None)
@given(cells=cells, data=st.data())
def test_order_of_construction_is_forgotten(cells, data):
    shuffled = {cell: data.draw(st.permutations(cells[cell])) for cell in data.draw(st.permutations(list(cells)))}
    one, other = Genotype.build("x", cells), Genotype.build("x", shuffled)
    assert one == other
    assert hash(one) == hash(other)
    assert one.to_json() == other.to_json()


def test_candidates_are_in_canonical_order():
    candidates = [Candidate(3, 1, "a"), Candidate(3, 0, "b"), Candidate(2, 1, "z"), Candidate(3, 0, "a")]
    assert Genotype.build("x", {"normal": candidates}).cell("normal") == (
        Candidate(2, 1, "z"), Candidate(3, 0, "a"), Candidate(3, 0, "b"), Candidate(3, 1, "a"),
    )  # fmt: skip


def test_different_genotypes_differ():
    assert len(set(PUBLISHED.values())) == len(PUBLISHED)
    assert Genotype.build("x", {"normal": [Candidate(2, 0, "a")]}) != Genotype.build(
        "y", {"normal": SMALL.cell("normal")}
    )


@pytest.mark.parametrize("concat", ["range(2, 3)", "[2]", "(2,)", "list(range(2, 3))"])
@pytest.mark.parametrize("prefix", ["", "FOUND = ", "FOUND=", "\n  genotype = "])
def test_printed_form(prefix, concat):
    assert Genotype.from_printed(f"{prefix}{PRINTED.format(concat=concat)}\n") == SMALL


def test_printed_form_of_the_darts_repository():
    text = """DARTS_V1 = Genotype(
        normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), ('sep_conv_3x3', 1),
                ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 2)],
        normal_concat=[2, 3, 4, 5],
        reduce=[('max_pool_3x3', 0), ('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0),
                ('max_pool_3x3', 0), ('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)],
        reduce_concat=range(2, 6))"""
    genotype = Genotype.from_printed(text)
    assert genotype.cell("normal")[-1] == Candidate(5, 2, "skip_connect")
    assert [c.target for c in genotype.cell("reduce")] == [2, 2, 3, 3, 4, 4, 5, 5]


def test_nothing_is_evaluated(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "system", lambda command: pytest.fail(f"ran {command}"))
    attack = "__import__('os').system('touch pwned')"
    for text in (
        attack,
        f"X = {attack}",
        PRINTED.format(concat=attack),
        PRINTED.replace("('skip_connect', 0)", f"('skip_connect', {attack})").format(concat="[2]"),
        PRINTED.replace("Genotype", "__import__('os').system").format(concat="[2]"),
        PRINTED.format(concat=f"range({attack})"),
        f"Genotype(**{attack})",
        f"Genotype({attack})",
    ):
        with pytest.raises(GenotypeError, match=r"attack\.txt"):
            Genotype.from_printed(text, where="attack.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a printed Genotype"),
        ("Genotype(", "not a printed Genotype"),
        ("(" * 5000, "not a printed Genotype"),
        ("1" * 5000, "not a printed Genotype"),
        ("a\0", "not a printed Genotype"),
        ("[1, 2]", r"expected Genotype\(normal="),
        ("Cell(normal=[])", r"expected Genotype\(normal="),
        ("Genotype([], [2])", r"expected Genotype\(normal="),
        ("Genotype(normal=[])", "has fields normal; expected normal, normal_concat, reduce, reduce_concat"),
        (PRINTED.format(concat="[2]")[:-1] + ", reduce=[])", "has fields normal, .* reduce, reduce, reduce_concat"),
        (PRINTED.format(concat="10 ** 2"), r"'10 \*\* 2' is not a literal"),
        (PRINTED.format(concat="{[]: 1}"), "is not a literal"),
        (PRINTED.format(concat="range(2, 3, 0)"), "is not a literal"),
        (PRINTED.format(concat="range(2, 99999999999999)"), r"normal_concat is range\(2, 9+\); only all nodes \[2\]"),
        (PRINTED.format(concat="list(range(99999999999999))"), "normal_concat is .* only all nodes"),
        (PRINTED.format(concat="[3]"), r"normal_concat is \[3\]; only all nodes \[2\] are supported"),
        (PRINTED.format(concat="2"), "normal_concat is 2; only all nodes"),
        (PRINTED.replace(", ('skip_connect', 0)", "").format(concat="[2]"), r"normal must list two \('primitive', sou"),
        (PRINTED.replace("0", "True").format(concat="[2]"), "normal must list two"),
        (PRINTED.replace("('skip_connect', 0)", "'skip_connect'").format(concat="[2]"), "normal must list two"),
        (PRINTED.replace("('skip_connect', 0)", "('skip_connect', 2)").format(concat="[2]"), "from a lower node"),
        (PRINTED.replace("('skip_connect', 0)", "('sep_conv_3x3', 1)").format(concat="[2]"), "3x3 on edge 1->2 twice"),
        ("Genotype(normal=[], normal_concat=[], reduce=[], reduce_concat=[])", "the normal cell is empty"),
    ],
)  # fmt: skip
def test_malformed_printed_form(text, message):
    with pytest.raises(GenotypeError, match=message) as caught:
        Genotype.from_printed(text, where="cell.txt")
    assert str(caught.value).startswith("cell.txt: ")


def document(**changes):
    return json.dumps({**json.loads(SMALL.to_json()), **changes})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON .line 1"),
        ("1" * 5000, "a number has thousands of digits"),
        ("[" * 100_000, "brackets are nested too deeply"),
        ("[]", "schema is 'list'; this version reads 'sparsenas.genotype/1'"),
        ("{}", "schema is None; this version reads"),
        (document(schema="sparsenas.genotype/9"), "schema is 'sparsenas.genotype/9'; this version reads"),
        (document(space=3), 'needs "space" .a name. and "cells"'),
        (document(cells=[]), 'needs "space" .a name. and "cells"'),
        (document(cells={}), "no cells; it needs at least one"),
        (document(cells={"normal": []}), "the normal cell is empty"),
        (document(cells={"normal": 5}), "a candidate is .*not iterable"),
        (document(cells={"normal": [{"source": 0, "target": 2}]}), "a candidate is .*found {'source': 0, 'target': 2}"),
        (document(cells={"normal": [{"source": 0, "target": 2.0, "primitive": "a"}]}), "a candidate is .*2.0"),
        (document(cells={"normal": [{"source": True, "target": 2, "primitive": "a"}]}), "a candidate is .*True"),
        (document(cells={"normal": [{"source": 0, "target": 2, "primitive": 7}]}), "a candidate is .*7"),
        (document(cells={"normal": [{"source": 3, "target": 2, "primitive": "a"}]}), "a on edge 3->2; an edge leads"),
        (document(cells={"normal": [{"source": -1, "target": 2, "primitive": "a"}]}), "a on edge -1->2; an edge leads"),
        (document(cells={"normal": [{"source": 0, "target": 2, "primitive": "a"}] * 2}), "a on edge 0->2 twice"),
    ],
)  # fmt: skip
def test_malformed_json(text, message):
    with pytest.raises(GenotypeError, match=message) as caught:
        Genotype.from_json(text, where="cell.json")
    assert str(caught.value).startswith("cell.json: ")


@pytest.mark.parametrize("text", [SMALL.to_json(), "\ufeff" + SMALL.to_json(), f"X = {PRINTED.format(concat='[2]')}"])
def test_load_reads_both_forms(tmp_path, text):
    path = tmp_path / "cell"
    path.write_text(text, encoding="utf-8")
    assert Genotype.load(path) == SMALL
    assert Genotype.load(str(path)) == SMALL


def test_load_names_the_file(tmp_path: Path):
    with pytest.raises(GenotypeError, match=r"absent\.json: cannot read the genotype \(No such file"):
        Genotype.load(tmp_path / "absent.json")
    with pytest.raises(GenotypeError, match=r"cannot read the genotype \(Is a directory\)"):
        Genotype.load(tmp_path)
    (tmp_path / "binary").write_bytes(b"\x89PNG\r\n\xff\xfe\x00")
    with pytest.raises(GenotypeError, match=r"binary: cannot read the genotype \(not text\)"):
        Genotype.load(tmp_path / "binary")
    (tmp_path / "broken.json").write_text('{"schema": ')
    with pytest.raises(GenotypeError, match=r"broken\.json: not JSON"):
        Genotype.load(tmp_path / "broken.json")


def test_unknown_cell():
    with pytest.raises(GenotypeError, match="no cell 'stem'; it has normal, reduce"):
        SMALL.cell("stem")
