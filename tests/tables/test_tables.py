"""All tables keep one protocol; the published ones hold the published figures."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from sparsenas.errors import GenotypeError, TableError
from sparsenas.spaces import PUBLISHED, NasBench201Space, WeightSharing64Space
from sparsenas.tables import BenchmarkTable, Cost, Training


class OwnTable(BenchmarkTable):
    """What a user would write: four cells, accuracies only."""

    def __init__(self):
        super().__init__("own", WeightSharing64Space(), ["111", "222", "333", "444"], [Training("digits", "test", 5)])

    def _accuracy(self, row, training):
        return 50.0 + row % 3


@pytest.fixture(params=["own", "nats", "nasbench101", "nasbench201", "nasbench_macro", "weight_sharing64"])
def table(request):
    if request.param == "own":
        return OwnTable()
    if request.param == "nats":
        return request.getfixturevalue("nats")
    return request.getfixturevalue("real")(request.param)


def test_every_table_keeps_the_protocol(table):
    texts = table.texts
    assert len(table) == len(texts) == len(set(texts))
    rows = {0, 1, len(table) // 2, len(table) - 1}
    for row in rows:
        genotype = table.space.from_string(texts[row])
        assert table.space.to_string(genotype) == texts[row]
        assert table.row(genotype) == row
        for training in table.trainings[:3]:
            accuracy = table.accuracy(genotype, *training)
            assert 0 < accuracy <= 100
            assert accuracy == table.accuracies(*training)[row]
        for device in table.devices:
            assert table.latency(genotype, device) > 0
        for score in table.score_names:
            assert table.scores(score).shape == (len(table),)
        with pytest.raises(TableError, match=f"no score 'luck'; it has {', '.join(table.score_names) or 'none'}"):
            table.scores("luck")
        try:
            assert isinstance(table.cost(genotype), Cost)
            assert table.cost(genotype).parameters > 0
        except TableError as error:
            assert "no costs" in str(error)  # noqa: PT017 - either is right, by the table
    for training in table.trainings[:3]:
        best = table.best(*training)
        values = table.accuracies(*training)
        assert values.shape == (len(table),)
        assert best.accuracy == values.max() == table.accuracy(best.genotype, *training)
        assert table.row(best.genotype) == values.argmax()


def test_every_table_says_what_it_has(table):
    genotype = table.space.from_string(table.texts[0])
    for wrong in (("mnist", "test", 200), ("cifar10", "train", 200), ("cifar10", "test", 7)):
        with pytest.raises(TableError, match=r"no accuracy .* it has .*" + str(table.trainings[-1])):
            table.accuracy(genotype, *wrong)
        with pytest.raises(TableError, match="no accuracy"):
            table.best(*wrong)
    with pytest.raises(
        TableError, match=r"no device 'toaster'; it has " + (", ".join(table.devices) or "no latencies")
    ):
        table.latency(genotype, "toaster")


def test_a_genotype_of_another_space_is_an_error(table):
    for ask in (table.row, table.cost, lambda genotype: table.accuracy(genotype, *table.trainings[0])):
        with pytest.raises(GenotypeError, match=f"genotype is of space 'darts' .* expected '{table.space.name}'"):
            ask(PUBLISHED["darts_v2"])


def test_iteration_is_in_the_order_of_the_benchmark(real):
    for table in (OwnTable(), real("weight_sharing64")):
        assert [table.space.to_string(genotype) for genotype in table] == list(table.texts)
        assert [table.row(genotype) for genotype in table] == list(range(len(table)))


def test_a_table_that_is_not_complete_says_what_it_lacks():
    with pytest.raises(TableError, match=r"own: no 434; it holds 4 networks, e\.g\. 111"):
        OwnTable().row(WeightSharing64Space().from_string("434"))


def test_a_table_lists_each_network_once():
    class Double(OwnTable):
        def __init__(self):
            BenchmarkTable.__init__(self, "own", WeightSharing64Space(), ["111", "222", "111"], [])

    with pytest.raises(TableError, match="own: 111 occurs twice"):
        Double()


def test_published_figures_of_nasbench201(real):
    table = real("nasbench201")
    assert len(table) == 15_625
    for dataset, accuracy, row in (
        ("cifar10", 94.3733, 6111),
        ("cifar100", 73.5133, 9930),
        ("ImageNet16-120", 47.3111, 857),
    ):
        best = table.best(dataset, "test", 200)
        assert (best.accuracy, table.row(best.genotype)) == (accuracy, row)
    assert table.best("cifar10-valid", "valid", 200).accuracy == 91.6067
    resnet = table.space.from_string("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|")
    assert table.accuracy(resnet, "cifar10", "test", 200) == pytest.approx(93.91, abs=0.005)


def test_costs_of_nasbench201_are_those_of_its_space(real):
    table, space = real("nasbench201"), NasBench201Space()
    for text in table.texts[::50]:
        genotype = space.from_string(text)
        cost = table.cost(genotype)
        assert cost.parameters == space.parameters(genotype)
        assert cost.flops == pytest.approx(space.flops(genotype), abs=50)


def test_published_scores_of_nasbench201(real):
    """Spearman with the accuracy, over all cells with a score, as published in the notes of the file."""
    table = real("nasbench201")
    accuracies = table.accuracies("cifar10", "test", 200)
    for name, published, without in (
        ("parameters", 0.753, 0),
        ("flops", 0.732, 0),
        ("jacobian_covariance", 0.694, 341),  # cells whose input is cut off from the output
        ("zen", 0.386, 0),
    ):
        scores = table.scores(name)
        known = np.isfinite(scores)
        assert (~known).sum() == without
        assert spearmanr(scores[known], accuracies[known]).statistic == pytest.approx(published, abs=0.002), name


def test_latencies_of_nasbench201(real):
    table = real("nasbench201")
    assert len(table.devices) == 27
    for device, median in (("raspi4", 25.7), ("gold_6226", 9.6), ("1080ti_1", 9.5)):
        values = [table.latency(genotype, device) for genotype in table.genotypes[::25]]
        assert np.median(values) == pytest.approx(median, rel=0.05)


def test_doubtful_columns_are_not_offered(real):
    table = real("nasbench201")
    assert {training.dataset for training in table.trainings} == {
        "cifar10",
        "cifar10-valid",
        "cifar100",
        "ImageNet16-120",
    }
    assert not any("gdas" in column for column in table._columns)
    with pytest.raises(TableError, match="no accuracy cifar10/valid/200"):
        table.best("cifar10", "valid", 200)


def test_published_figures_of_nasbench_macro(real):
    table = real("nasbench_macro")
    accuracies = table.accuracies("cifar10", "test", 50)
    best = table.best("cifar10", "test", 50)
    assert len(table) == 6561
    assert (table.space.to_string(best.genotype), round(best.accuracy, 2)) == ("22212202", 93.13)
    assert accuracies.mean() == pytest.approx(90.25, abs=0.005)
    assert table.cost(table.space.from_string("00000000")) == Cost(387_882, 7_713_280)


def test_known_figures_of_the_weight_sharing_cells(real):
    table = real("weight_sharing64")
    accuracies = table.accuracies("cifar10", "test", 200)
    assert table.texts[accuracies.argmin()] == "111"
    assert accuracies.min() == pytest.approx(70.14, abs=0.005)
    best = table.best("cifar10", "test", 200)
    assert (table.space.to_string(best.genotype), round(best.accuracy, 2)) == ("434", 85.16)
    assert table.snapshots.shape == (128, 64)
    assert table.steps.tolist() == list(range(39_073, 39_201))
    assert table.deviations.shape == (64,)
    assert 30 < table.snapshots.mean() < accuracies.mean()
