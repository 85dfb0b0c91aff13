"""Reading genotypes as people paste them: the forms of the field's programs, in texts and in files."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsenas.errors import GenotypeError
from sparsenas.spaces import (
    PUBLISHED,
    DartsSpace,
    NasBench201Space,
    NasBenchMacroSpace,
    WeightSharing64Space,
    read_genotype,
)

NORMAL = [("sep_conv_3x3", 1), ("skip_connect", 0), ("dil_conv_5x5", 2), ("sep_conv_3x3", 0)]
REDUCE = [("max_pool_3x3", 0), ("dil_conv_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1)]
FIELDS = {"normal": NORMAL, "normal_concat": [2, 3], "reduce": REDUCE, "reduce_concat": [2, 3]}


def printed(fields=FIELDS, **changes):
    """The fields as a named tuple prints them."""
    return f"Genotype({', '.join(f'{name}={value!r}' for name, value in {**fields, **changes}.items())})"


def grouped(pairs):
    return [tuple(pairs[start : start + 2]) for start in range(0, len(pairs), 2)]


PLAIN = printed()
CELL = read_genotype(PLAIN)
GROUPED = printed(normal=grouped(NORMAL), reduce=grouped(REDUCE))
WITH_STRENGTHS = [tuple((*pair, 0.25) for pair in node) for node in grouped(NORMAL)]
NUMPY = PLAIN.replace("('sep_conv_3x3', 1)", "(np.str_('sep_conv_3x3'), np.int64(1))")

FORMS = {
    "plain": PLAIN,
    "assignment": f"DARTS_V1 = {PLAIN}",
    "assignment with a semicolon": f"  best = {PLAIN} ;\n",
    "log of the DARTS code": f"12/04 10:11:12 PM genotype = {PLAIN}",
    "log of Python's logging": f"2024-05-01 10:00:00,123 - search - INFO - epoch 49 genotype: {PLAIN}",
    "module in front": f"genotypes.{PLAIN}",
    "text behind": f"{PLAIN}, valid_acc 97.24",
    "entry of a list": f"[{PLAIN}, 97.24]",
    "single quotes around": f"'{PLAIN}'",
    "double quotes around": f'"{PLAIN}"',
    "back quotes around": f"`{PLAIN}`",
    "double quotes": PLAIN.replace("'", '"'),
    "escaped quotes": json.dumps({"arch": PLAIN.replace("'", '"')}),
    "quotes of a web page": PLAIN.replace("('", "(\u2018").replace("',", "\u2019,"),
    "blanks of a web page": PLAIN.replace(" ", "\u00a0"),
    "no blanks": PLAIN.replace(" ", ""),
    "blanks, tabs and line breaks": PLAIN.replace("(", "(\n\t ").replace("=", " =  ").replace(",", "\t,\r\n"),
    "blank before the bracket": PLAIN.replace("Genotype(", "Genotype ("),
    "comma at the end": PLAIN.replace(")]", "),]").replace("3])", "3],)"),
    "comments": PLAIN.replace("normal=", "# the (normal cell's\n normal=", 1),
    "ranges": PLAIN.replace("[2, 3]", "range(2, 4)"),
    "ranges with a step": PLAIN.replace("[2, 3]", "range(2, 4, 1)"),
    "lists of ranges": PLAIN.replace("[2, 3]", "list(range(2, 4))"),
    "tuples": printed({name: tuple(value) for name, value in FIELDS.items()}),
    "lists": printed(normal=[list(pair) for pair in NORMAL], reduce=[list(pair) for pair in REDUCE]),
    "grouped by node": GROUPED,
    "one cell grouped": printed(normal=grouped(NORMAL)),
    "groups in lists": GROUPED.replace("((", "[(").replace("))", ")]"),
    "further empty fields": f"{GROUPED[:-1]}, connectN=None, connects=None)",
    "strengths": printed(normal=WITH_STRENGTHS),
    "numpy's scalars": NUMPY,
    "fields in another order": printed(dict(reversed(FIELDS.items()))),
    "fields without names": f"Genotype({', '.join(map(repr, FIELDS.values()))})",
    "dictionary": repr(FIELDS),
    "dictionary in a log": f"INFO:root:genotype = {FIELDS!r}",
    "dictionary in a log with bars": f"10:00:00 | INFO | {FIELDS!r} | 97.1",
    "JSON": json.dumps(FIELDS, indent=2),
    "JSON with an empty field": json.dumps({**FIELDS, "connects": None}),
    "JSON inside of JSON": json.dumps({"epoch": 3, "genotype": FIELDS}),
    "JSON list of a named tuple": json.dumps(list(FIELDS.values())),
    "twice": f"best {PLAIN}\nlast {PLAIN}",
    "our own JSON": CELL.to_json(),
    "our own JSON in quotes": f"genotype = '{CELL.to_json()}';",
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_every_form_is_read_as_a_text_and_from_a_file(text, tmp_path):
    assert read_genotype(text) == CELL
    for name in ("cell.txt", "cell.json", "cell (1).txt"):
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
        assert read_genotype(str(tmp_path / name)) == CELL


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_files_of_all_editors_are_read(tmp_path, encoding):
    (tmp_path / "cell").write_text(PLAIN, encoding=encoding)
    assert read_genotype(f" '{tmp_path / 'cell'}'\n") == CELL


RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


@pytest.mark.parametrize(
    "text",
    [
        f" {RESNET}\n",
        RESNET.replace("+", " + "),
        RESNET.replace("|", " | ").replace("~", " ~ "),
        RESNET.replace("+", "+\n\t"),
        f'"{RESNET}",',
        f"Architecture: {RESNET}",
        f"Structure(4 nodes with {RESNET})",
        f"[2024-05-01 10:00:00] [epoch=049] genotype: Structure(4 nodes with {RESNET}) loss 0.1 | acc 93.1",
        f"arch_str={RESNET}, arch_index=1462",
        json.dumps({"index": 1462, "arch": RESNET}),
        f"| 1462 | {RESNET} | 93.1 |",
        f"first: {RESNET}\nlast:  {RESNET}",
    ],
)
def test_strings_of_nasbench201_are_found_in_other_text(text, tmp_path):
    cell = NasBench201Space().from_string(RESNET)
    assert read_genotype(text) == cell
    (tmp_path / "cell.txt").write_text(text)
    assert read_genotype(str(tmp_path / "cell.txt")) == cell


def test_labels_of_the_other_benchmarks_and_names(tmp_path):
    assert read_genotype("22212202\n") == NasBenchMacroSpace().from_string("22212202")
    assert read_genotype("'434'") == WeightSharing64Space().from_string("434")
    assert read_genotype(" darts_v2\n") == PUBLISHED["darts_v2"]
    (tmp_path / "name.txt").write_text("darts_v2\n")
    assert read_genotype(str(tmp_path / "name.txt")) == PUBLISHED["darts_v2"]


STAGES = printed({"normal_bottom": NORMAL, "normal_mid": REDUCE, "normal_top": NORMAL, "reduce": REDUCE})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"genotype: not a printed Genotype\(\.\.\.\): found nothing; expected Genotype\(normal="),
        (" \n", "found nothing; expected"),
        ("a\0b", "found 'a.x00b'; expected"),
        ("sep_conv_3x3 (twice)", r"found 'sep_conv_3x3 \(twice\)'; expected Genotype"),
        ("[('sep_conv_3x3', 1), ('skip_connect', 0)]", r"found \"\[\('sep_conv_3x3', 1\), .*\.\.\.\"; expected"),
        (STAGES, "has fields normal_bottom, normal_mid, normal_top, reduce; expected normal, normal_concat, r"),
        (printed({k: v for k, v in FIELDS.items() if "reduce" not in k}), "has fields normal, normal_concat; expected"),
        (printed(reduce=None), r"reduce must list two \('primitive', source\) pairs per node"),
        (printed(connects=[1]), "has fields connects, normal, normal_concat, reduce, reduce_concat; expected"),
        (printed(normal_concat=[3]), r"normal_concat is \[3\]; only all nodes \[2, 3\] are supported"),
        (printed(normal=[*grouped(NORMAL), NORMAL[0]]), "normal must list two"),
        (printed(normal=[[*NORMAL]]), "normal must list two"),
        (printed(normal=[(1, 4), (0, 2)]), "normal must list two"),
        (PLAIN[:60], r"was never closed in .*; expected Genotype\(normal="),
        (f"{PLAIN}\n{printed(normal=REDUCE)}", "genotype: holds 2 genotypes, which differ; give one of them"),
        (f"{RESNET}\n{RESNET.replace('none', 'avg_pool_3x3')}", "genotype: holds 2 genotypes, which differ"),
        (RESNET.replace("none", "conv_9x9"), r"genotype: '.*conv_9x9.*' is no NAS-Bench-201 cell; expected \|op~0\|"),
        (RESNET[:40], "is no NAS-Bench-201 cell; expected"),
        ("| none |", "is no NAS-Bench-201 cell; expected"),
        ("222122021", "found '222122021'; expected"),
        ("{}", "found '{}'; expected"),
        ("absent.json", r"absent\.json: cannot read the genotype \(No such file"),
        ("no_such_name", "no_such_name: no such file, and no genotype of that name; known are"),
    ],
)  # fmt: skip
def test_what_names_no_cell_ends_in_one_line(text, message):
    with pytest.raises(GenotypeError, match=message) as caught:
        read_genotype(text)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "Genotype(" * 100_000,
        "Genotype(normal=" + "[" * 100_000,
        "Genotype(normal=" + "-" * 100_000 + "1)",
        "Genotype(normal=" + "1+" * 100_000 + "1, normal_concat=1, reduce=1, reduce_concat=1)",
        "Genotype(normal=" + "1" * 100_000 + ", normal_concat=1, reduce=1, reduce_concat=1)",
        '{"schema": ' + "[" * 100_000,
        '{"normal": ' * 50_000,
        "|" * 100_000,
        "|none~0" * 50_000,
        "x" * 100_000,
        "a/" * 100_000,
        "\N{GREEK SMALL LETTER ALPHA}" * 200,
        PLAIN.replace("[2, 3]", str(list(range(2, 100_000)))),
    ],
    ids=lambda text: text[:20],
)
def test_long_and_deep_garbage_ends_in_one_line_too(text, tmp_path):
    (tmp_path / "garbage").write_text(text)
    for given_text in (text, str(tmp_path / "garbage")):
        with pytest.raises(GenotypeError) as caught:
            read_genotype(given_text)
        assert len(str(caught.value)) < 600
        assert "\n" not in str(caught.value)


def test_a_file_that_is_no_text_or_far_too_long_is_named(tmp_path):
    with pytest.raises(GenotypeError, match=r"cannot read the genotype \(Is a directory\)"):
        read_genotype(str(tmp_path))
    with open(tmp_path / "long.txt", "wb") as file:
        file.truncate(2**24 + 1)
    with pytest.raises(GenotypeError, match=r"long\.txt: is longer than 16777216 bytes; give a file with one genotype"):
        read_genotype(str(tmp_path / "long.txt"))


SPACES = [DartsSpace(), DartsSpace(nodes=2), DartsSpace(distinct_edges=False)]
AROUND = ["{}", "X = {}", "12/04 10:11:12 PM genotype = {}", '"{}"', "\n{};\n", "genotypes.{}, 97.1"]


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_reading_inverts_printing(data):
    space = data.draw(st.sampled_from(SPACES))
    genotype = space.sample(np.random.default_rng(data.draw(st.integers(0, 2**32))))
    fields = {}
    for cell in data.draw(st.permutations(genotype.cell_types)):
        kinds = data.draw(st.sampled_from([list, tuple])), data.draw(st.sampled_from([list, tuple]))
        pairs = [kinds[0]((candidate.primitive, candidate.source)) for candidate in genotype.cell(cell)]
        nodes = range(2, 2 + space.nodes)
        fields[cell] = kinds[1](data.draw(st.sampled_from([pairs, grouped(pairs)])))
        fields[f"{cell}_concat"] = data.draw(st.sampled_from([nodes, list(nodes), tuple(nodes)]))
    text = printed(fields).replace(", ", data.draw(st.sampled_from([", ", ",", " ,\n\t"])))
    assert read_genotype(data.draw(st.sampled_from(AROUND)).format(text)) == genotype
    assert read_genotype(repr(fields)) == genotype
    assert read_genotype(json.dumps({name: list(value) for name, value in fields.items()})) == genotype


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), around=st.sampled_from([*AROUND[:-1], "Structure(4 nodes with {})"]))
def test_reading_inverts_printing_of_nasbench201(seed, around):
    space = NasBench201Space()
    genotype = space.sample(np.random.default_rng(seed))
    assert read_genotype(around.format(space.to_string(genotype))) == genotype
