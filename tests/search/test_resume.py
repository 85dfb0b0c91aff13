"""A resumed search is the uninterrupted one, to the last bit; the same seed gives the same search."""

import shlex

import pytest
import torch

from sparsenas.cli import main
from sparsenas.data import Digits
from sparsenas.schedules import Schedule
from sparsenas.search import (
    ArchitectureTraining,
    FullGradient,
    MixtureSampling,
    SparseRecovery,
    SupportGradient,
    TwoStageSearch,
)
from sparsenas.sparse_coding import ExactSolver, FistaSolver, IstaSolver, LarsSolver
from sparsenas.training import WeightTraining

#: Every schedule and every solver; FISTA and ISTA go on from the last dense code.
VARIANTS = {
    "by batch": {
        "recovery": SparseRecovery(every_n_steps=3),
        "signal": FullGradient(every=2),
        "sampling": MixtureSampling(0.75, 0.25),
        "architecture": ArchitectureTraining(schedule=Schedule(), warmup_epochs=1),
    },
    "by epoch": {
        "recovery": SparseRecovery(LarsSolver(), "uniform", 7, every_n_steps=None),
        "signal": SupportGradient(),
        "architecture": ArchitectureTraining(lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-3)),
    },
    "proximal": {
        "recovery": SparseRecovery(IstaSolver(iterations=1), every_n_steps=1),
        "signal": FullGradient(every=1),
        "architecture": ArchitectureTraining(warmup_epochs=3),
    },
    "accelerated": {
        "recovery": SparseRecovery(FistaSolver(iterations=5), every_n_steps=2),
        "signal": FullGradient(every=2),
    },
}


@pytest.mark.parametrize("name", [*list(VARIANTS)[:3], pytest.param("accelerated", marks=pytest.mark.slow)])
def test_resumed_search_is_the_uninterrupted_one(make_search, fit, listener, assert_same_run, name):
    def build(init=0):
        return make_search(init, training=WeightTraining(schedule=Schedule(warmup_epochs=1)), **VARIANTS[name])

    trainer = fit(build(), epochs=4, folder="whole")
    folder = trainer.checkpoint_callback.dirpath
    # stopped after two of the four epochs: their checkpoint is all that is left; the new weights are to be replaced
    resumed = build(init=7)
    torch.manual_seed(1234)
    fit(resumed, listener, epochs=4, folder="rest", ckpt_path=f"{folder}/epoch=1.ckpt")
    assert_same_run(f"{folder}/epoch=3.ckpt", f"{folder}/../rest/epoch=3.ckpt")
    assert resumed.genotype == trainer.lightning_module.genotype
    assert resumed.visited == trainer.lightning_module.visited
    counts = [report.count for report in listener.reports]
    assert counts == list(range(resumed.recoveries - len(counts) + 1, resumed.recoveries + 1))
    assert counts == [] or counts[0] > 0


@pytest.mark.slow
def test_counters_do_not_start_again(make_search, fit, listener):
    search = make_search(recovery=SparseRecovery(every_n_steps=2), signal=FullGradient(every=1))
    trainer = fit(search, epochs=1)
    fit(
        make_search(recovery=SparseRecovery(every_n_steps=2), signal=FullGradient(every=1)),
        listener,
        folder="rest",
        ckpt_path=trainer.checkpoint_callback.last_model_path,
    )
    assert [(report.count, report.batch) for report in listener.reports] == [(3, 6), (4, 8)]
    assert listener.reports[-1].visited >= len(search.visited)


@pytest.mark.slow
def test_same_seed_same_search(make_search, fit, differences):
    def run(init=0, seed=0, data=0, folder="a"):
        search = make_search(init, seed=seed, signal=FullGradient(every=1), recovery=SparseRecovery(every_n_steps=2))
        fit(search, folder=folder, epochs=1, data=Digits(batch_size=32, arch_fraction=0.4, seed=data))
        return search.state_dict()

    first = run()
    torch.manual_seed(5)
    assert differences(first, run(folder="b")) == []
    for change in ({"init": 1}, {"seed": 1}, {"data": 1}):
        other = run(**change, folder="c")
        assert not torch.equal(first["architecture.b"], other["architecture.b"])
        assert not torch.equal(first["network.classifier.weight"], other["network.classifier.weight"])


#: Callbacks of a run that keeps the checkpoint of every epoch.
KEEP_ALL = """
trainer:
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {filename: "{epoch}", save_top_k: -1, save_last: true, save_on_train_epoch_end: true}
    - class_path: GenotypeFile
"""
#: A one-stage search under a budget, of two epochs at most.
ONE_STAGE = """
model:
  class_path: OneStageSearch
  init_args:
    space: {class_path: DartsSpace}
    network: {channels: 8, cells: 4, stem: small}
    training:
      drop_path: 0.1
      auxiliary_weight: 0.4
      label_smoothing: 0.1
      optimizer:
        class_path: torch.optim.SGD
        init_args: {lr: 0.05, momentum: 0.9, weight_decay: 3.0e-4}
    budget: {max_params: 12000}
    recovery: {every_n_steps: 1}
    settling: {class_path: StableSupport, init_args: {patience: 2, tolerance: 0.5}}
    phases: {search_epochs: 2}
data:
  class_path: Digits
  init_args: {arch_fraction: 0.0}
"""


class TestByCommandLine:
    COMMON = (
        "fit --config search_two_stage_digits --model.network.channels 4 --model.space.nodes 2 --data.batch_size 32 "
        "--trainer.accelerator cpu --trainer.limit_train_batches 3 --trainer.limit_val_batches 1 "
        "--trainer.log_every_n_steps 1"
    )
    BY_BATCH = "--model.recovery.every_n_steps 2 --model.signal FullGradient --model.signal.every 1"
    # as one value, because jsonargparse does not take a nested null
    BY_EPOCH = (
        "--model.signal SupportGradient --model.sampling RecoveredSampling --model.recovery "
        """'{"every_n_steps": null, "dictionary": "uniform", "solver": {"class_path": "LarsSolver"}}'"""
    )

    @pytest.fixture(autouse=True)
    def _elsewhere(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

    @pytest.mark.slow
    @pytest.mark.parametrize(("schedule", "warmup"), [(BY_BATCH, 1), (BY_EPOCH, 0), (BY_EPOCH, 2)])
    def test_resume(self, tmp_path, assert_same_run, schedule, warmup):
        # the uniform draws move towards the end of the search, so both runs must know the same end
        common = [*shlex.split(self.COMMON), *shlex.split(schedule), "--model.architecture.warmup_epochs", str(warmup)]
        (tmp_path / "keep.yaml").write_text(KEEP_ALL)
        common += ["--config", "keep.yaml", "--trainer.max_epochs", "4"]
        assert main(common) == 0
        whole = tmp_path / "lightning_logs" / "version_0"
        assert main([*common, "--seed_everything", "11", "--ckpt_path", str(next(whole.rglob("epoch=1.ckpt")))]) == 0
        rest = tmp_path / "lightning_logs" / "version_1"
        assert_same_run(next(whole.rglob("last.ckpt")), next(rest.rglob("last.ckpt")))
        assert (whole / "genotype.json").read_text() == (rest / "genotype.json").read_text()

    @pytest.mark.slow
    def test_resume_in_both_phases_of_one_stage(self, tmp_path, assert_same_run):
        """Under a budget, from the middle of the search and across the switch."""
        (tmp_path / "one_stage.yaml").write_text(ONE_STAGE)
        common = shlex.split(self.COMMON.replace("search_two_stage_digits", "one_stage.yaml"))
        (tmp_path / "keep.yaml").write_text(KEEP_ALL)
        common += ["--config", "keep.yaml", "--trainer.max_epochs", "4"]
        assert main(common) == 0
        whole = tmp_path / "lightning_logs" / "version_0"
        for epoch in range(3):
            kept = str(next(whole.rglob(f"epoch={epoch}.ckpt")))
            assert main([*common, "--seed_everything", "11", "--ckpt_path", kept]) == 0
            rest = tmp_path / "lightning_logs" / f"version_{epoch + 1}"
            assert_same_run(next(whole.rglob("last.ckpt")), next(rest.rglob("last.ckpt")))
            assert (whole / "genotype.json").read_text() == (rest / "genotype.json").read_text()

    @pytest.mark.slow
    def test_two_epochs_and_then_four(self, tmp_path, assert_same_run, capsys):
        """As a user does it: a short run, then a longer one from its last checkpoint."""
        common = [*shlex.split(self.COMMON), *shlex.split(self.BY_BATCH)]
        common += ["--model.architecture.warmup_epochs", "1", "--model.sampling", "UniformSampling"]
        assert main([*common, "--trainer.max_epochs", "4"]) == 0
        assert main([*common, "--trainer.max_epochs", "2"]) == 0
        last = next((tmp_path / "lightning_logs" / "version_1").rglob("last.ckpt"))
        assert "the checkpoint is of a run" not in capsys.readouterr().out
        assert main([*common, "--trainer.max_epochs", "4", "--ckpt_path", str(last)]) == 0
        assert "the checkpoint is of a run of 2 epochs, this one has 4" in capsys.readouterr().out
        runs = [next((tmp_path / "lightning_logs" / f"version_{i}").rglob("last.ckpt")) for i in (0, 1)]
        assert_same_run(*runs)

    @pytest.mark.slow
    def test_a_checkpoint_loads_without_its_config(self, tmp_path, differences):
        assert (
            main([*shlex.split(self.COMMON), "--model.architecture.warmup_epochs", "0", "--trainer.max_epochs", "1"])
            == 0
        )
        last = next(tmp_path.rglob("last.ckpt"))
        search = TwoStageSearch.load_from_checkpoint(last, weights_only=True)
        assert search.space.nodes == 2
        assert search.recovery.solver == ExactSolver()
        assert differences(search.state_dict(), torch.load(last, weights_only=True)["state_dict"]) == []
