"""Novelty: distances and scores against brute force, the archive, and what it does to the paths of a run."""

import numpy as np
import pytest

from sparsenas.complexity import effective_support
from sparsenas.errors import ConfigError
from sparsenas.networks import SuperNet
from sparsenas.search import NoveltyPaths, UniformPaths
from sparsenas.search.baselines.decision_draws import DecisionDraws, connected
from sparsenas.search.baselines.distances import describe, distances
from sparsenas.search.baselines.novelty_paths import NoveltyDraws
from sparsenas.search.baselines.path_record import PathRecord
from sparsenas.spaces import DartsSpace, NasBench201Space, SearchSpace, StageSpace, WeightSharing64Space

CELLS = NasBench201Space()
PROPOSALS = ("best_of", "evolution_strategy", "genetic")


class Untold(SearchSpace):
    """The cells of NAS-Bench-201, of which nothing is known to be equivalent."""

    name, cell_types, num_inputs, inputs_per_node, distinct_edges = "nasbench201", ("normal",), 1, 6, True
    blocks = CELLS.blocks


SPACES = {
    "darts": DartsSpace(nodes=2),
    "nasbench201": CELLS,
    "untold": Untold(),
    "stage": StageSpace(stages=2, layers=2, types=["conv_3x3", "residual_3x3"], growths=[1.5]),
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def uniform(space, count, rng, untrained=()):
    return [UniformPaths(untrained).paths(space, rng)[0] for _ in range(count)]


def apart(space, first, second):
    """Distance by hand."""
    if space is CELLS and CELLS.isomorphism(CELLS.genotype(first)) == CELLS.isomorphism(CELLS.genotype(second)):
        return 0.0
    kept = [{(position, index) for position, row in enumerate(path) for index in row} for path in (first, second)]
    return len(kept[0] - kept[1]) / len(kept[0])


def filled(space, paths, **options):
    """Draws whose archive holds these paths."""
    draws = NoveltyDraws(NoveltyPaths(archive=len(paths), **options), space)
    losses = [0.0] * len(paths)
    draws.load_state_dict(draws.state_dict() | {"drawn": len(paths), "supports": paths, "losses": losses})
    return draws


@pytest.mark.parametrize("name", SPACES)
def test_distances_are_those_of_brute_force(name, rng):
    space = SPACES[name]
    first, second = uniform(space, 30, rng), uniform(space, 40, rng)
    second[:3] = first[:3]
    found = distances(describe(space, first), describe(space, second))
    np.testing.assert_allclose(found, [[apart(space, a, b) for b in second] for a in first], atol=1e-6)
    assert found.diagonal()[:3].tolist() == [0.0] * 3
    own = distances(describe(space, first), describe(space, first))
    assert np.array_equal(own, own.T)


def test_scores_are_those_of_brute_force(rng):
    space = SPACES["darts"]
    archive, candidates = uniform(space, 25, rng), uniform(space, 9, rng)
    draws = filled(space, archive, neighbours=4)
    by_hand = [np.mean(sorted(apart(space, path, other) for other in archive)[:4]) for path in candidates]
    np.testing.assert_allclose(draws.scores(candidates), by_hand, atol=1e-6)
    # members are no neighbours of their own, so that 0 is left out
    members = [3, 20]
    by_hand = [np.mean(sorted(apart(space, archive[place], other) for other in archive)[1:5]) for place in members]
    np.testing.assert_allclose(draws.scores([archive[place] for place in members], members), by_hand, atol=1e-6)


@pytest.mark.parametrize("name", SPACES)
def test_a_duplicate_has_no_novelty(name, rng):
    space = SPACES[name]
    path, other = uniform(space, 2, rng)
    draws = filled(space, [path] * 20)
    scores = draws.scores([path, other])
    assert scores[0] == 0.0
    assert scores[1] == pytest.approx(apart(space, path, other))
    assert draws.scores([path], [5]) == 0.0


def test_losses_count_without_their_trend(rng):
    space = SPACES["darts"]
    near, far = uniform(space, 2, rng)
    draws = filled(space, [near, far] * 10, neighbours=3, novelty=0.0)
    assert draws.hears
    falling = np.linspace(3.0, 1.0, 20)
    bad = np.where(np.arange(20) % 2 == 1, 0.2, 0.0)  # what is `far` is a little worse
    draws.load_state_dict(draws.state_dict() | {"losses": (falling + bad).tolist()})
    scores = draws.scores([near, far])
    assert scores[0] > 0 > scores[1]
    draws.load_state_dict(draws.state_dict() | {"losses": (falling - bad).tolist()})
    assert draws.scores([near, far])[0] < 0


def test_both_terms_are_standardised(rng):
    space = SPACES["darts"]
    archive, candidates = uniform(space, 30, rng), uniform(space, 12, rng)
    losses = rng.normal(2.0, 0.3, size=30).tolist()
    scores = {}
    for weight in (0.0, 0.3, 1.0):
        draws = filled(space, archive, novelty=weight)
        draws.load_state_dict(draws.state_dict() | {"losses": losses})
        scores[weight] = draws.scores(candidates)
    standard = (scores[1.0] - scores[1.0].mean()) / scores[1.0].std()
    np.testing.assert_allclose(scores[0.3], 0.3 * standard + 0.7 * scores[0.0], atol=1e-9)


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_the_archive_is_what_was_trained_last(proposal, rng):
    space = SPACES["darts"]
    draws = NoveltyDraws(NoveltyPaths(archive=7, neighbours=2, proposal=proposal, candidates=3, novelty=0.5), space)
    drawn, losses = [], []
    for step in range(25):
        drawn += draws.draw(rng)
        losses.append(float("nan") if step == 22 else rng.random())
        draws.heard(losses[-1:])
        state = draws.state_dict()
        assert sorted(state["supports"]) == sorted(drawn[-7:])
        assert len(state["losses"]) == len(drawn[-7:])
    losses[22] = max(losses[15:22])  # that of the slot is not there any more
    assert sorted(state["losses"]) == pytest.approx(sorted(losses[-7:]))
    again, other = NoveltyDraws(draws.options, space), np.random.default_rng()
    again.load_state_dict(state)
    other.bit_generator.state = rng.bit_generator.state
    for _ in range(20):
        assert again.draw(rng) == draws.draw(other)
        again.heard([1.0])
        draws.heard([1.0])


def test_what_is_cut_off_is_never_drawn(rng):
    counts = {proposal: 0 for proposal in PROPOSALS}
    drawn = uniform(CELLS, 400, rng)
    dead = [path for path in drawn if not connected(CELLS, path)]
    assert 0 < len(dead) < 30
    for path in dead:
        assert effective_support(CELLS, path) == ((),)
    for proposal in counts:
        draws = NoveltyDraws(NoveltyPaths(archive=20, proposal=proposal), CELLS)
        assert all(connected(CELLS, draws.draw(rng)[0]) for _ in range(60))


@pytest.mark.parametrize("name", SPACES)
def test_decisions_without_logits_are_uniform(name, rng):
    space = SPACES[name]
    draws = DecisionDraws(space)
    drawn, gradients = draws.draw(draws.uniform, 4000, rng)
    assert all(space.support(space.genotype(path)) == path for path in drawn[:50])
    shares = describe(space, drawn).kept.mean(0)
    expected = np.concatenate([np.full(len(block), space.inputs_per_node / len(block)) for block in space.blocks])
    cut_off = 0.025 if space.name == "nasbench201" else 0.0  # paths through `none` are drawn anew
    np.testing.assert_allclose(shares, expected, atol=0.03 + cut_off)
    # a probability that is 1 in all has gradients of mean 0
    np.testing.assert_allclose(gradients.mean(0), 0.0, atol=0.03 + cut_off)


@pytest.mark.slow
def test_gradients_are_those_of_the_probabilities(rng):
    """By finite differences, on a node that keeps two candidates of distinct edges, one drawn after the other."""
    space = DartsSpace(nodes=2, primitives=("skip_connect", "sep_conv_3x3"))
    draws = DecisionDraws(space)
    logits = rng.normal(size=len(draws.uniform))
    drawn, gradients = draws.draw(logits, 20_000, rng)
    kept, moved = describe(space, drawn).kept, 0.2 * rng.normal(size=len(logits))
    other, _ = draws.draw(logits + moved, 20_000, np.random.default_rng(1))
    first_order = (kept[:, :, None] * gradients[:, None]).mean(0) @ moved
    np.testing.assert_allclose(describe(space, other).kept.mean(0) - kept.mean(0), first_order, atol=0.04)


def test_entropy_has_a_floor(rng):
    for space in (SPACES["darts"], CELLS):
        draws = DecisionDraws(space, ("skip_connect",))
        sharp = draws.spread(20 * rng.normal(size=len(draws.uniform)), 0.9)
        assert np.ptp(sharp) > 0.5
        drawn, _ = draws.draw(sharp, 2000, rng)
        counts = describe(space, drawn).kept.sum(0)
        trained = [c.primitive != "skip_connect" for block in space.blocks for c in block.candidates]
        assert (counts > 0).tolist() == trained
        flat = draws.spread(0.01 * sharp, 0.9)
        assert np.array_equal(flat, 0.01 * sharp)


def figures(space, draw, seed, draws=500):
    """Mean distance of all pairs, and the figures of a run."""
    rng, record, paths = np.random.default_rng(seed), PathRecord(space), []
    for _ in range(draws):
        paths += draw(rng)
        record.note(paths[-1:])
    pairs = distances(*[describe(space, paths)] * 2)
    return {"pairs": pairs.sum() / (draws * (draws - 1)), **record.figures()}


@pytest.mark.slow
@pytest.mark.parametrize("proposal", PROPOSALS)
@pytest.mark.parametrize("name", ["darts", "untold"])
def test_paths_are_farther_apart_and_more_even_than_uniform_ones(name, proposal):
    """Of equally many draws, in spaces that tell nothing of equivalence."""
    space = SPACES[name]
    for seed in range(3):
        novel = figures(space, NoveltyDraws(NoveltyPaths(proposal=proposal), space).draw, seed)
        plain = figures(space, lambda rng: UniformPaths().paths(space, rng), seed)
        assert novel["pairs"] > plain["pairs"]
        assert novel["paths/updates_cv"] < plain["paths/updates_cv"]


@pytest.mark.slow
def test_networks_of_many_encodings_are_trained_less_often():
    """Where equivalence is known: more networks, farther apart, but not more even updates.

    Cells with `none` and `skip_connect` have many equivalent encodings, which are not novel: these primitives are
    trained less, and the others more.
    """
    for seed in range(3):
        novel = figures(CELLS, NoveltyDraws(NoveltyPaths(), CELLS).draw, seed)
        plain = figures(CELLS, lambda rng: UniformPaths().paths(CELLS, rng), seed)
        assert novel["paths/coverage"] > plain["paths/coverage"] + 0.1
        assert novel["paths/knn"] > plain["paths/knn"]
        assert novel["paths/updates_min"] < plain["paths/updates_min"]


def released_step(store, rng):
    """A step of the evolution strategy in the released code of EN2AS on the genomes of normal cells, rewritten."""
    nodes, operations, index = 4, 8, int(rng.integers(len(store)))
    noise = rng.normal(size=(10, 4 * nodes))
    rounded = np.round(store[index] + noise).astype(int)
    same = (rounded[:, None, 0:8:2] == store[:, 0:8:2]) & (rounded[:, None, 1:8:2] == store[:, 1:8:2])
    novelty = np.sort(1 - same.sum(2) / 8, 1)[:, :10].mean(1)
    moved = np.round(store[index] + 0.01 / 10 * (novelty[:, None] * noise).sum(0))
    inputs, primitives = np.repeat(np.arange(nodes) + 1, 2), np.full(2 * nodes, operations - 1)
    store[index] = np.clip(moved, 0, np.stack([inputs, primitives], 1).ravel())


def test_the_released_rule_moves_nothing(rng):
    limits = np.stack([np.repeat(np.arange(4) + 2, 2), np.full(8, 8)], 1).ravel()
    store = rng.integers(limits, size=(200, 16)).astype(float)
    before = store.copy()
    for _ in range(1000):
        released_step(store, rng)
    assert np.array_equal(store, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 0}, r"neighbours=0, archive=1000; need 1 <= neighbours < archive"),
        ({"archive": 10}, r"neighbours=10, archive=10; need 1 <= neighbours < archive"),
        ({"proposal": "luck"}, r"paths\.proposal is 'luck'; use best_of, evolution_strategy, genetic"),
        ({"candidates": 1}, r"paths\.candidates is 1; of at least 2"),
        ({"uniform": 1.5}, r"paths\.uniform is 1\.5; it lies in \[0, 1\]"),
        ({"novelty": -0.1}, r"paths\.novelty is -0\.1; it lies in \[0, 1\]"),
    ],
)
def test_mistakes_are_explained(options, message):
    with pytest.raises(ConfigError, match=message):
        NoveltyPaths(**options)


def test_spaces_that_do_not_fit_are_refused(rng):
    small = SuperNet(WeightSharing64Space(), (1, 8, 8), 10, channels=4, cells=3)
    with pytest.raises(ConfigError, match=r"paths\.archive is 65, but the space weight_sharing64 has 64 architectures"):
        NoveltyPaths(archive=65).begin(small, rng)
    NoveltyPaths(archive=64).begin(small, rng)
    cells = SuperNet(CELLS, (1, 8, 8), 10, channels=4, cells=3)
    with pytest.raises(ConfigError, match=r"paths\.untrained is .*; that leaves nothing to train on an edge"):
        NoveltyPaths(untrained=CELLS.primitives).begin(cells, rng)
    with pytest.raises(ConfigError, match=r"have no path from input to output of every cell; leave fewer primitives"):
        NoveltyPaths(untrained=CELLS.primitives[1:]).begin(cells, rng)
