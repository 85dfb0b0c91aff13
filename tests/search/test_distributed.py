"""Two processes search as one: in two stages, in one by its signals, on single paths by their draws, under attack."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

#: Every rank leaves what it found. It runs as a program of its own, because Lightning starts the second rank from it.
PROGRAM = """
import sys

import pytorch_lightning as pl
import torch

from sparsenas.data import Digits
from sparsenas.networks import NetworkConfig, NormOptions
from sparsenas.search import (
    ArchitectureTraining, BestOf, Exploration, Finals, FullGradient, Iterations, NaoSearch, NoveltyPaths, Objectives,
    OneStageSearch, Phases, RecoveryListener, RelaxedSearch, Resource, SinglePathSearch, SparseRecovery,
    TwoStageSearch, UniformPaths,
)
from sparsenas.spaces import DartsSpace
from sparsenas.training import Adversary, Attack, WeightTraining


class Leave(RecoveryListener):
    def __init__(self):
        self.supports = []

    def on_recovery(self, trainer, search, report):
        self.supports.append(report.support)

    def on_train_end(self, trainer, search):
        state = {"state": search.state_dict(), "supports": self.supports, "visited": sorted(search.visited)}
        if isinstance(search, SinglePathSearch):
            search.network.eval()
            state |= {
                "draws": search._draws.state_dict(),
                "found": search.support,
                "scores": sorted(search.measured.items()),
                "own": sorted((support, search.score(support)) for support in search.measured),
            }
        torch.save(state, f"rank{trainer.global_rank}.pt")


pl.seed_everything(0)
common = {"image_shape": (1, 8, 8), "num_classes": 10, "space": DartsSpace(nodes=2)}
large_steps = lambda p: torch.optim.SGD(p, lr=1.0)
robust = WeightTraining(adversary=Adversary(16.0)) if "robust" in sys.argv[2] else WeightTraining()
objectives = Objectives(Resource(low=1e6), Attack(16.0)) if "robust" in sys.argv[2] else None
if sys.argv[2] == "relaxed_robust":
    search = RelaxedSearch(
        **common, network=NetworkConfig(channels=4, cells=3, stem="small"), training=robust,
        architecture=ArchitectureTraining(large_steps, objectives=objectives),
    )
elif sys.argv[2].startswith("two_stage"):
    norms = NormOptions(affine=True, track=False, append="pools_and_skips")
    search = TwoStageSearch(
        **common, network=NetworkConfig(channels=4, cells=3, stem="small", norms=norms),
        signal=FullGradient(every=1), recovery=SparseRecovery(every_n_steps=1),
        training=robust, architecture=ArchitectureTraining(large_steps, warmup_epochs=1, objectives=objectives),
    )
elif sys.argv[2] == "nao_search":
    search = NaoSearch(
        **common, network=NetworkConfig(channels=4, cells=3, stem="small"), measure_batches=2,
        iterations=Iterations(count=2, pool=6, proposals=4, seeds=3, encoder_epochs=2), finals=Finals(1, 1),
    )
elif sys.argv[2].startswith("single_path"):
    novel = sys.argv[2].endswith("novelty")
    search = SinglePathSearch(
        **common, network=NetworkConfig(channels=4, cells=3, stem="small"), training=WeightTraining(drop_path=0.1),
        paths=NoveltyPaths(archive=8, neighbours=2, novelty=0.5) if novel else UniformPaths(),
        selection=BestOf(6, finalists=2 if novel else 0), measure_batches=2,
    )
else:
    search = OneStageSearch(
        **common, network=NetworkConfig(channels=4, cells=3, stem="small"),
        training=WeightTraining(drop_path=0.2, auxiliary_weight=0.4), phases=Phases(2),
        exploration=Exploration(signal=sys.argv[2]), recovery=SparseRecovery(every_n_steps=1, unit_weights=True),
        architecture=ArchitectureTraining(large_steps),
    )
trainer = pl.Trainer(
    accelerator="cpu", devices=2, strategy=sys.argv[1], max_epochs=3, limit_train_batches=4, limit_val_batches=1,
    logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[Leave()],
)
trainer.fit(search, Digits(batch_size=16, arch_fraction=0.4 if "_" in sys.argv[2] else 0.0))
"""


def run(folder: Path, strategy: str, mode: str = "two_stage") -> subprocess.CompletedProcess:
    (folder / "program.py").write_text(PROGRAM)
    source = str(Path(__file__).resolve().parents[2])
    return subprocess.run(
        [sys.executable, "program.py", strategy, mode],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode",
    [
        "two_stage",
        "two_stage_robust",
        "relaxed_robust",
        "gradient",
        "loss",
        "single_path",
        "single_path_novelty",
        "nao_search",
    ],
)
def test_ranks_agree(tmp_path, mode):
    process = run(tmp_path, "ddp_find_unused_parameters_true", mode)
    assert process.returncode == 0, process.stderr[-2000:]
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["supports"] == second["supports"]
    assert first["visited"] == second["visited"]
    assert len(first["visited"]) > 1
    for name, tensor in first["state"].items():
        if "running" not in name:  # the stem's statistics are those of the images a rank saw
            assert torch.equal(tensor, second["state"][name]), name
    if mode.startswith("single_path"):  # each measures on images of its own, and the first one decides
        assert first["own"] != second["own"]
        assert first["found"] == second["found"]
        best = sorted(first["own"], key=lambda row: row[1], reverse=True)[: 2 if "novelty" in mode else 1]
        assert first["found"] in [support for support, _ in best]
        assert first["scores"] == second["scores"] == first["own"]
        assert first["draws"] == second["draws"]  # by the mean of their losses


@pytest.mark.slow
def test_a_strategy_that_cannot_work_is_refused(tmp_path):
    process = run(tmp_path, "ddp")
    assert process.returncode != 0
    assert "use ddp_find_unused_parameters_true" in process.stderr
