"""Files of networks that were trained: curves, scores, and what is wrong with them."""

import numpy as np
import pytest

from sparsenas.comparison.predictors import networks_of_file
from sparsenas.comparison.predictors.known_networks import Look
from sparsenas.errors import ConfigError, DataError
from sparsenas.spaces import DartsSpace, NasBench201Space, StageSpace

PAIRS = ", ".join(["('sep_conv_3x3', 0), ('skip_connect', 1)"] * 4)
CELL = f"Genotype(normal=[{PAIRS}], normal_concat=range(2, 6), reduce=[{PAIRS}], reduce_concat=range(2, 6))"
READ = "no genotypes with learning curves can be read"


@pytest.fixture
def save(tmp_path):
    """Writes a file of four networks."""

    def write(name="some.npz", **arrays):
        given = {"genotypes": [CELL] * 4, "curves": np.full((4, 50), 90.0), **arrays}
        np.savez(tmp_path / name, **{key: values for key, values in given.items() if values is not None})
        return tmp_path / name

    return write


def test_curves_are_known_up_to_an_epoch_and_end_with_a_mean(save):
    curves = np.random.default_rng(0).integers(8000, 9500, (4, 50)).astype(np.uint16)
    known = networks_of_file(save(curves=curves), [5, 47])
    assert known.targets == pytest.approx(curves[:, -3:].mean(1) / 100)
    assert known.looks == (Look(5, 5, 5), Look(47, 47, 47))
    assert known.info(frozenset({"val_accuracy"}), np.array([1]), known.looks[0])["val_accuracy"].shape == (1, 5)
    assert known.encoding.graph(known.genotypes[0]).parts.max() == len(DartsSpace().cell_types) - 1


@pytest.mark.parametrize("early", [[48], [], [0, 5], [5, 5], [9, 5]])
def test_an_early_epoch_is_not_the_truth_itself(save, early):
    with pytest.raises(ConfigError, match="ascending epochs up to 47: curves have 50, of which the last 3 are the"):
        networks_of_file(save(), early)


@pytest.mark.parametrize(("epochs", "last"), [(1000, 10), (600, 10), (100, 5), (6, 1)])
def test_long_curves_end_with_a_mean_of_ten(save, epochs, last):
    curves = np.random.default_rng(0).normal(90, 1, (4, epochs))
    assert networks_of_file(save(curves=curves), [1]).targets == pytest.approx(curves[:, -last:].mean(1))


@pytest.mark.parametrize("name", ["darts", "stage", "nasbench201"])
def test_all_that_is_known_of_networks_of_a_space_is_read(save, name):
    space = {"darts": DartsSpace(nodes=2), "stage": StageSpace(layers=2), "nasbench201": NasBench201Space()}[name]
    rng = np.random.default_rng(0)
    networks = [space.sample(rng) for _ in range(4)]
    texts = [space.to_string(cell) if name == "nasbench201" else cell.to_json() for cell in networks]
    losses, scores = np.arange(4 * 50.0).reshape(4, 50), np.array([1, -np.inf, 3, 2])
    file = save(genotypes=texts, train_loss=losses, val_loss=losses + 1, synflow=scores, notes=np.zeros(7))
    known = networks_of_file(file, [5], space)
    assert known.genotypes == tuple(networks)
    assert known.known == {"val_accuracy", "train_loss", "val_loss", "synflow", "epochs"}
    info = known.info(frozenset({"train_loss", "synflow", "epochs"}), np.array([1, 2]), known.looks[0])
    assert info["train_loss"].tolist() == losses[[1, 2], :5].tolist()
    assert info["synflow"].tolist() == [[-1], [3]]  # lower than all by their range
    assert info["epochs"].tolist() == [[50], [50]]


@pytest.mark.parametrize("name", ["cut.npz", "empty.npz", "one.npy"])
def test_files_that_hold_no_networks_are_named(save, tmp_path, name):
    whole = save().read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.npz").write_bytes(b"")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match=f"{name}: {READ}"):
        networks_of_file(tmp_path / name, [5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"genotypes": None}, READ),
        ({"curves": None}, READ),
        ({"curves": np.full((4, 50), np.nan)}, "val_accuracy: values are no numbers; leave these networks out"),
        ({"train_loss": np.full((4, 50), np.inf)}, "train_loss: values are no numbers"),
        ({"curves": np.full((3, 50), 90.0)}, r"val_accuracy: shape \(3, 50\), but there are 4 genotypes"),
        ({"curves": np.full(4, 90.0)}, r"val_accuracy: shape \(4,\)"),
        ({"val_loss": np.zeros((4, 9))}, r"different shapes: val_accuracy \(4, 50\), val_loss \(4, 9\)"),
        ({"snip": np.zeros((4, 1))}, r"snip: float64 of shape \(4, 1\); give each network a number"),
        ({"snip": np.array(["a"] * 4)}, "snip: <U1 of shape"),
        ({"snip": np.array([0, 1, 2, np.nan])}, "snip: values are NaN or infinite"),
        ({"genotypes": [CELL] * 3 + ["resnet"]}, "genotype 4: "),
        ({"genotypes": [CELL] * 3 + [CELL.replace("skip_connect", "swim")]}, "genotype 4: .*swim"),
    ],
)
def test_what_is_wrong_is_named(save, change, message):
    with pytest.raises(DataError, match=message):
        networks_of_file(save(**change), [5])


def test_networks_of_another_space_are_refused(save):
    with pytest.raises(DataError, match="genotype 1: "):
        networks_of_file(save(), [5], StageSpace())


def test_whole_numbers_are_hundredths_and_a_cell_given_twice_is_one(save):
    known = networks_of_file(save(curves=np.full((4, 50), 9000)), [5])
    assert known.targets.tolist() == [90] * 4
    assert known.classes.tolist() == [0] * 4
