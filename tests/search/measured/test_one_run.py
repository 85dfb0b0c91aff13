"""Measured search as one run: it measures, then trains; what survives a kill, a resume, and several processes."""

import copy
import json
from dataclasses import dataclass, replace

import pytest
import pytorch_lightning as pl
import torch

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.networks import NetworkConfig, NormOptions
from sparsenas.schedules import Schedule
from sparsenas.search import Budget, Decoding, MeasuredSearch, Proxy, RandomSearch, ShortTraining
from sparsenas.spaces import DartsSpace, NasBench201Space, WeightSharing64Space
from sparsenas.sparse_coding.regression import LassoRegression
from sparsenas.training import StandAloneTraining, WeightTraining

NB201 = NasBench201Space()
#: Everything that a training may have.
RECIPE = WeightTraining(
    lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True),
    Schedule("linear", warmup_epochs=1, final_ratio=0.1),
    gradient_clip=1.0,
    label_smoothing=0.1,
    drop_path=0.3,
    auxiliary_weight=0.4,
)
DARTS = DartsSpace(nodes=2, primitives=("avg_pool_3x3", "skip_connect", "sep_conv_3x3"))


class KilledError(Exception):
    """Whatever ends a process."""


@dataclass(frozen=True)
class Skips(Proxy):
    """More skips are better, in any space."""

    name = "skips"

    def __call__(self, support, bench, repeat):
        cells = bench.space.genotype(support).cells
        return float(sum(c.primitive == "skip_connect" for _, kept in cells for c in kept))


class Start(pl.Callback):
    """Keeps the weights with which a training starts."""

    def on_train_start(self, trainer, module):
        self.state = copy.deepcopy(module.network.state_dict())


@pytest.fixture
def mortal(planted):
    class Mortal(planted):
        """Dies when it is asked for the first architecture too many; by its settings, another proxy of the kind."""

        def __call__(self, support, bench, repeat):
            if len(self.calls) == self.lives:
                raise self.death
            return super().__call__(support, bench, repeat)

        def __repr__(self):
            return planted.__repr__(replace(planted(self.seed, self.noise)))

    def make(seed, lives, death):
        proxy = Mortal(seed)
        object.__setattr__(proxy, "lives", lives)
        object.__setattr__(proxy, "death", death)
        return proxy

    return make


def same(first, second):
    """Whether two states are bit-equal."""
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def scores_in(folder):
    """Architectures in the order of the score file."""
    lines = (folder / "proxies.jsonl").read_text().splitlines()[1:]
    return [tuple(tuple(row) for row in json.loads(line)["support"]) for line in lines]


class TestKilled:
    @pytest.mark.parametrize(
        ("lives", "death"),
        [(0, KilledError()), (1, KilledError()), (7, KeyboardInterrupt()), (10, KilledError())],
        ids=lambda value: value if isinstance(value, int) else type(value).__name__,
    )
    @pytest.mark.parametrize("short", [None, ShortTraining(4, cells=1)], ids=["untrained", "trained"])
    def test_started_again_it_is_the_uninterrupted_run(
        self, make_measured, fit_in, planted, mortal, tmp_path, lives, death, short
    ):
        """Weights included, as they are drawn after the measuring."""
        decoding = Decoding(("counts",), LassoRegression(3, 5), certainty=0.0, bootstraps=10, trust="all")
        options = {"repeats": 1, "short": short, "trained": 5, "decoding": decoding}
        whole = make_measured(proxies=[planted(0)], **options)
        fit_in(whole, folder="whole", epochs=1)
        first = mortal(0, lives, death)
        with pytest.raises((KilledError, KeyboardInterrupt, SystemExit)):
            fit_in(make_measured(proxies=[first], **options), epochs=1)
        kept = scores_in(tmp_path / "run") if lives else []
        assert kept == first.calls
        assert len(kept) == lives
        second = planted(0)
        again = make_measured(proxies=[second], **options)
        fit_in(again, epochs=1)
        assert not set(second.calls) & set(kept)
        assert scores_in(tmp_path / "run") == kept + second.calls
        assert (tmp_path / "run" / "proxies.jsonl").read_bytes() == (tmp_path / "whole" / "proxies.jsonl").read_bytes()
        assert (again.genotype, again.result, again.measured) == (whole.genotype, whole.result, whole.measured)
        assert same(again.state_dict(), whole.state_dict())

    def test_a_torn_last_line_is_measured_again_and_nothing_else(self, make_measured, fit_in, planted, tmp_path):
        first, second = planted(0), planted(0)
        whole, again = (make_measured(proxies=[proxy], repeats=1) for proxy in (first, second))
        fit_in(whole)
        file = tmp_path / "run" / "proxies.jsonl"
        text = file.read_bytes()
        file.write_bytes(text[:-40])
        fit_in(again)
        assert second.calls == first.calls[-1:]
        assert file.read_bytes() == text
        assert again.result == whole.result

    def test_a_run_that_is_started_once_more_measures_nothing(self, make_measured, fit_in, planted):
        first, second = planted(0), planted(0)
        whole, again = (make_measured(proxies=[proxy]) for proxy in (first, second))
        fit_in(whole)
        fit_in(again)
        assert (len(first.calls) > 20, second.calls) == (True, [])
        assert (again.result, again.measured, again.visited) == (whole.result, whole.measured, whole.visited)

    @pytest.mark.parametrize(
        ("other", "data", "named"),
        [
            ({"seed": 1}, {}, "seed"),
            ({"repeats": 3}, {}, "images, repeats"),  # a third repeat reads another batch
            ({"network": NetworkConfig(8, 3)}, {}, "network"),
            ({"network": NetworkConfig(4, 3, norms=NormOptions(affine=False))}, {}, "network"),
            ({"space": WeightSharing64Space()}, {}, "space"),
            ({"short": ShortTraining(4, cells=1), "trained": 5}, {}, "images, training"),
            ({}, {"batch_size": 32}, "images"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_scores_of_other_settings_are_refused(self, make_measured, fit_in, tmp_path, other, data, named):
        fit_in(make_measured())
        text = (tmp_path / "run" / "proxies.jsonl").read_bytes()
        with pytest.raises(CheckpointError, match=rf"with other settings \({named}\); choose another folder"):
            fit_in(make_measured(**other), **data)
        assert (tmp_path / "run" / "proxies.jsonl").read_bytes() == text

    def test_scores_of_other_proxies_are_refused(self, make_measured, fit_in, planted):
        fit_in(make_measured())
        for proxies in ([planted(0)], [planted(0), planted(2)], [planted(1), planted(0)]):
            with pytest.raises(CheckpointError, match=r"with other settings \(proxies\); choose another folder"):
                fit_in(make_measured(proxies=proxies))

    def test_what_no_score_depends_on_may_change(self, make_measured, fit_in, planted):
        """How many are measured, how they are trained, which are allowed, and what is made of it."""
        fit_in(make_measured(proxies=[planted(0)]))
        proxy = planted(0)
        other = make_measured(
            proxies=[proxy],
            count=8,
            rounds=0,
            size_band=0.7,
            decoding=Decoding(("candidates",)),
            training=replace(RECIPE, auxiliary_weight=0.0),
        )
        fit_in(other)
        assert proxy.calls == []
        assert other.result.measured == 8
        fit_in(make_measured(proxies=[proxy], budget=Budget(forbidden=("avg_pool_3x3",))))
        assert 0 < len(proxy.calls) < 2 * 14


class TestTraining:
    @pytest.mark.parametrize("space", [DARTS, NB201], ids=lambda space: space.name)
    def test_it_is_that_of_a_genotype(self, make_measured, fit_in, space):
        """With everything that a training may have; from the same weights both come to the same, bit by bit."""
        network = NetworkConfig(4, 3, "small" if space is DARTS else "cifar", NormOptions(affine=True, track=True))
        training = RECIPE if space is DARTS else replace(RECIPE, auxiliary_weight=0.0)
        search = make_measured(proxies=[Skips()], space=space, network=network, training=training, repeats=1, seed=3)
        start = Start()
        fit_in(search, start, epochs=2)
        alone = StandAloneTraining((1, 8, 8), 10, search.genotype.to_json(), network, training, seed=3)
        alone.network.load_state_dict(start.state)
        fit_in(alone, folder="alone", epochs=2)
        assert not same(search.network.state_dict(), start.state)
        assert same(search.network.state_dict(), alone.network.state_dict())
        assert search.finished
        assert search.state_dict().keys() == alone.state_dict().keys()

    def test_without_epochs_nothing_is_trained(self, make_measured, fit_in, planted, tmp_path):
        search, start = make_measured(), Start()
        trainer = fit_in(search, start, epochs=0)
        assert not hasattr(start, "state")
        assert trainer.global_step == 0
        assert search.result.support == search.support
        assert search.genotype == search.network.genotype
        assert not search.finished
        assert len(scores_in(tmp_path / "run")) == len(search.visited)

    def test_a_module_that_has_measured_goes_on_without(self, make_measured, fit_in, planted):
        """Another fit of the same module trains the network that it has, in whichever folder."""
        proxy = planted(0)
        search = make_measured(proxies=[proxy])
        fit_in(search)
        calls, network = len(proxy.calls), search.network
        fit_in(search, folder="on", epochs=1)
        assert len(proxy.calls) == calls
        assert search.network is network

    def test_a_genotype_that_is_given_is_not_looked_for(self, make_measured, measuring, fit_in, planted, tmp_path):
        proxy = planted(0)
        text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|+|none~0|avg_pool_3x3~1|nor_conv_1x1~2|"
        genotype = NB201.from_string(text)
        search = MeasuredSearch(
            (1, 8, 8), 10, NB201, NetworkConfig(4, 3), measuring=measuring(proxies=[proxy]), genotype=genotype.to_json()
        )
        fit_in(search, epochs=1)
        assert (search.genotype, search.result, proxy.calls) == (genotype, None, [])
        assert not (tmp_path / "run" / "proxies.jsonl").exists()


class TestCheckpoint:
    def test_it_holds_the_network_and_nothing_of_the_search(self, make_measured, fit_in, tmp_path):
        """No image, no super-net, no scores; it can be read safely."""
        search = make_measured()
        fit_in(search, epochs=1)
        saved = torch.load(tmp_path / "run" / "epoch=0.ckpt", weights_only=True)
        alone = StandAloneTraining((1, 8, 8), 10, search.genotype.to_json(), NetworkConfig(4, 3), WeightTraining())
        assert saved["state_dict"].keys() == alone.state_dict().keys()
        assert saved["hyper_parameters"]["genotype"] == search.genotype.to_json()
        weights = sum(parameter.numel() for parameter in search.network.parameters())
        momentum = sum(state["momentum_buffer"].numel() for state in saved["optimizer_states"][0]["state"].values())
        assert momentum <= weights
        saved["Digits"].pop("parts")  # a number and a code per image
        beside = {name: part for name, part in saved.items() if name not in ("state_dict", "optimizer_states")}
        assert sum(tensor.numel() for tensor in tensors_of(beside)) < 16 * 8 * 8  # not even one batch

    @pytest.mark.parametrize("epoch", [0, 1])
    @pytest.mark.parametrize("told", [True, False])
    def test_a_resumed_run_is_the_uninterrupted_one(
        self, make_measured, fit_in, planted, differences, tmp_path, epoch, told
    ):
        """In another folder. A search that is told the genotype, as the command line does, measures nothing.

        Lightning reads the checkpoint too late for another one, which measures again, and trains what was found then.
        """
        training = replace(RECIPE, auxiliary_weight=0.0)
        whole, proxy = make_measured(training=training), planted(0)
        fit_in(whole, epochs=3)
        checkpoint = tmp_path / "run" / f"epoch={epoch}.ckpt"
        resumed = make_measured(
            training=training,
            proxies=[proxy, planted(1)],
            genotype=torch.load(checkpoint, weights_only=True)["hyper_parameters"]["genotype"] if told else None,
        )
        fit_in(resumed, folder="on", init=5, epochs=3, ckpt_path=checkpoint)
        assert (proxy.calls == []) == told
        assert same(resumed.state_dict(), whole.state_dict())
        assert resumed.genotype == whole.genotype
        ends = [torch.load(tmp_path / folder / "epoch=2.ckpt", weights_only=True) for folder in ("run", "on")]
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "hyper_parameters", "global_step"):
            assert differences(*(end[part] for end in ends)) == [], part

    def test_a_search_that_is_loaded_measures_nothing(self, make_measured, measuring, fit_in, planted, tmp_path):
        search, proxy = make_measured(), planted(0)
        fit_in(search, epochs=2)
        loaded = MeasuredSearch.load_from_checkpoint(
            tmp_path / "run" / "epoch=0.ckpt",
            weights_only=True,
            space=NB201,
            network=NetworkConfig(4, 3),
            measuring=measuring(proxies=[proxy, planted(1)]),
        )
        assert loaded.decide() == loaded.support == search.support
        assert loaded.genotype == search.genotype == loaded.network.genotype
        saved = torch.load(tmp_path / "run" / "epoch=0.ckpt", weights_only=True)["state_dict"]
        assert same(loaded.state_dict(), saved)
        fit_in(loaded, folder="on", epochs=2, ckpt_path=tmp_path / "run" / "epoch=0.ckpt")
        assert proxy.calls == []
        assert same(loaded.state_dict(), search.state_dict())
        with pytest.raises(ConfigError, match="no images to measure under other rules; run it again"):
            loaded.decide(Budget(forbidden=("avg_pool_3x3",)).constraints(NB201))

    def test_what_was_found_is_that_of_the_checkpoint(self, make_measured, fit_in, planted, tmp_path):
        """Whatever the search itself has found before, of which nothing is left."""
        search, other = make_measured(), make_measured(proxies=[planted(3, 2.0)])
        fit_in(search, epochs=1)
        fit_in(other, folder="other")
        assert other.genotype != search.genotype
        other.on_load_checkpoint(torch.load(tmp_path / "run" / "epoch=0.ckpt", weights_only=True))
        assert other.genotype == search.genotype == other.network.genotype
        assert (other.result, other.measured, other.scores()) == (None, {}, {})

    def test_one_of_another_search_is_refused(self, make_measured, fit_in, tmp_path):
        other = RandomSearch((1, 8, 8), 10, NB201, NetworkConfig(4, 3), epochs_each=1)
        fit_in(other, epochs=1, arch_fraction=0.4)
        checkpoint = tmp_path / "run" / "epoch=0.ckpt"
        for load in (
            lambda: fit_in(make_measured(), epochs=2, ckpt_path=checkpoint),
            lambda: make_measured().on_load_checkpoint(torch.load(checkpoint, weights_only=True)),
        ):
            with pytest.raises(
                CheckpointError, match="not one of a measured search; give one that MeasuredSearch wrote"
            ):
                load()


def tensors_of(tree):
    """All tensors of nested values."""
    if isinstance(tree, torch.Tensor):
        return [tree]
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [tensor for part in tree for tensor in tensors_of(part)] if isinstance(tree, (list, tuple)) else []


class TestTime:
    @pytest.mark.parametrize("option", ["trainer.max_time", "measuring.seconds"])
    def test_a_time_limit_ends_the_measuring(self, make_measured, fit_in, planted, capsys, option):
        """What was measured decides, and is known to the run that goes on."""
        first, second = planted(0), planted(0)
        whole, on = (make_measured(proxies=[proxy], repeats=1) for proxy in (planted(0), second))
        cut = make_measured(proxies=[first], repeats=1, seconds=1e-9 if option == "measuring.seconds" else None)
        fit_in(whole, folder="whole")
        fit_in(cut, max_time={"seconds": 0} if option == "trainer.max_time" else None)
        assert cut.cut
        assert len(first.calls) == len(cut.measured) == cut.result.measured == 4
        assert "time was up after measuring 4 networks" in capsys.readouterr().out
        assert cut.support == max(cut.measured, key=cut.measured.__getitem__)
        fit_in(on)
        assert not on.cut
        assert not set(first.calls) & set(second.calls)
        assert on.result == whole.result

    def test_enough_time_cuts_nothing(self, make_measured, fit_in):
        whole, timed = make_measured(), make_measured(seconds=3600.0)
        fit_in(whole)
        fit_in(timed, folder="timed", max_time={"hours": 1})
        assert not timed.cut
        assert timed.result == whole.result

    def test_scores_outside_its_band_do_not_count(self, make_measured, fit_in, planted):
        """A file full of what another budget allows is not enough to decide by."""
        fit_in(make_measured(proxies=[planted(0)]))
        forbidden = Budget(forbidden=("nor_conv_3x3",))
        search = make_measured(proxies=[planted(0)], budget=forbidden)
        fit_in(search, max_time={"seconds": 0})
        assert search.cut
        assert search.result.measured >= 4
        assert all(forbidden.constraints(NB201).allows(support) for support in search.measured)


#: Every rank leaves what it found. It runs as a program of its own, because Lightning starts the second rank from it.
PROGRAM = """
import pytorch_lightning as pl
import torch

from sparsenas.data import Digits
from sparsenas.networks import NetworkConfig
from sparsenas.search import Decoding, EffectiveCost, MeasuredSearch, Measuring, ZeroCost
from sparsenas.spaces import NasBench201Space
from sparsenas.training import WeightTraining
from sparsenas.zero_cost import Naswot


class Count(EffectiveCost):
    calls = []

    def __call__(self, support, bench, repeat):
        self.calls.append(support)
        return super().__call__(support, bench, repeat)


class Leave(pl.Callback):
    def on_train_start(self, trainer, search):
        self.start = {name: tensor.clone() for name, tensor in search.state_dict().items()}

    def on_train_end(self, trainer, search):
        found = {"genotype": search.genotype.to_json(), "calls": Count.calls, "state": search.state_dict()}
        found |= {"start": self.start, "measured": search.result is not None}
        torch.save(found, f"rank{trainer.global_rank}.pt")


pl.seed_everything(0)
decoding = Decoding(("counts",), certainty=0.0, bootstraps=5, trust="all")
measuring = Measuring([ZeroCost(Naswot(), images=16), Count()], count=6, rounds=1, proposals=1, decoding=decoding)
search = MeasuredSearch(
    (1, 8, 8), 10, NasBench201Space(), NetworkConfig(4, 3), WeightTraining(drop_path=0.2), measuring=measuring
)
trainer = pl.Trainer(
    accelerator="cpu", devices=2, strategy="ddp_find_unused_parameters_true", max_epochs=2, limit_train_batches=4,
    limit_val_batches=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[Leave()],
)
trainer.fit(search, Digits(batch_size=16, arch_fraction=0.0))
"""


@pytest.mark.slow
def test_of_two_processes_the_first_one_measures(tmp_path, run_program):
    """Both train what it found, from the same weights to the same."""
    run_program(PROGRAM)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert (first["measured"], second["measured"], second["calls"]) == (True, False, [])
    assert sorted(first["calls"]) == sorted(scores_in(tmp_path))
    assert first["genotype"] == second["genotype"]
    assert same(first["start"], second["start"])
    for name, tensor in first["state"].items():
        if "running" not in name:  # statistics are those of the images a rank saw
            assert torch.equal(tensor, second["state"][name]), name
    assert not same(first["start"], first["state"])
