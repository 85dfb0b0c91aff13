"""Published zero-cost scores: those of the cells that were scored, and what a wrong file says."""

import gzip

import numpy as np
import pytest
from scipy.stats import spearmanr

from sparsenas.errors import TableError
from sparsenas.tables import read_published_scores
from sparsenas.tables.zero_cost import ZERO_COST_COLUMNS

HEADER = ["space", "dataset", "arch", "nb201_index", *ZERO_COST_COLUMNS.values()]


def row(space="nb201", dataset="cifar10", arch='"(2,1,1,3,4,0)"', index="7", **scores):
    return [space, dataset, arch, index, *(scores.get(name, "1.5") for name in ZERO_COST_COLUMNS.values())]


@pytest.fixture
def write(tmp_path):
    def file(*rows, header=HEADER):
        path = tmp_path / "zero_cost_proxies.csv.gz"
        path.write_bytes(gzip.compress("".join(",".join(line) + "\n" for line in (header, *rows)).encode()))
        return path

    return file


def test_rows_of_one_data_set_are_read(write):
    path = write(row("nb101", arch="hash", index="-1"), row(dataset="cifar100"), row(jacov="", nwot="-2"))
    found = read_published_scores("cifar10", path)
    (genotype,) = found.genotypes
    assert [f"{c.target}{c.source} {c.primitive}" for c in genotype.cell("normal")] == [
        *("10 nor_conv_3x3", "20 none", "21 nor_conv_1x1", "30 none", "31 avg_pool_3x3", "32 skip_connect"),
    ]
    assert found.rows.tolist() == [7]
    assert np.isnan(found.scores["jacobian_covariance"]).tolist() == [True]
    assert found.scores["naswot"].tolist() == [-2]
    assert found.scores["snip"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([row("nb101")], "no scores for 'cifar10'; it has none of NAS-Bench-201"),
        ([row(dataset="cifar100")], "no scores for 'cifar10'; it has cifar100"),
        ([row(arch='"(2,1,1,3,4)"')], r"line 2: arch is '\(2,1,1,3,4\)'; expected six digits 0 to 4"),
        ([row(arch='"(2,1,1,3,4,5)"')], "line 2: arch is .* expected six digits 0 to 4"),
        ([row(), row(index="-1")], "line 3: nb201_index is '-1'; it must be a number of NAS-Bench-201"),
        ([row(), row(snip="inf")], "line 3: snip is 'inf'; it must be a number"),
        ([], "0 rows; the benchmark has 14,299"),
    ],
)
def test_wrong_files(write, rows, message):
    with pytest.raises(TableError, match=message):
        read_published_scores("cifar10", write(*rows))


def test_a_file_without_scores(write):
    with pytest.raises(TableError, match=r"no column epe_nas, fisher, .*, zen: is it another table"):
        read_published_scores("cifar10", write(row()[:4], header=HEADER[:4]))


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(TableError, match=r"is not there\. NAS-Bench-Suite-Zero is published at .*: download zc_nasb"):
        read_published_scores("cifar10", tmp_path / "none.csv.gz")


def test_published_scores_of_the_cells(real):
    """Spearman with the accuracy, as the notes of the file have it."""
    table, published = real("nasbench201"), read_published_scores("cifar10")
    assert [table.row(genotype) for genotype in published.genotypes] == published.rows.tolist()
    accuracies = table.accuracies("cifar10-valid", "valid", 200)[published.rows]
    assert len(published.scores) == 13
    for name, expected in (
        *(("naswot", 0.79), ("jacobian_covariance", 0.77), ("synflow", 0.74), ("parameters", 0.74), ("flops", 0.71)),
        *(("epe_nas", 0.67), ("snip", 0.61), ("grad_norm", 0.61), ("grasp", 0.54), ("fisher", 0.51), ("zen", 0.30)),
        ("plain", -0.26),
    ):
        scores = published.scores[name]
        known = np.isfinite(scores)
        assert known.sum() >= 724
        assert spearmanr(scores[known], accuracies[known]).statistic == pytest.approx(expected, abs=0.02), name
    assert published.scores["parameters"] == pytest.approx(table.scores("parameters")[published.rows], abs=1e-5)
