"""A tournament on two processes: both search, and both train what was found."""

import pytest
import torch

#: Every rank leaves what it found. It runs as a program of its own, because Lightning starts the second rank from it.
PROGRAM = """
import pytorch_lightning as pl
import torch

from sparsenas.data import Digits
from sparsenas.search import Budget, Governor, Tournament, TournamentSearch
from sparsenas.search.measured.trainings import Trainings
from sparsenas.spaces import StageSpace
from sparsenas.training import WeightTraining


calls, train = [], Trainings.train


def count(self, entrant, rung, until, repeat=0):
    calls.append((entrant.number, rung))
    return train(self, entrant, rung, until, repeat)


class Leave(pl.Callback):
    def on_train_start(self, trainer, search):
        self.start = {name: tensor.clone() for name, tensor in search.state_dict().items()}

    def on_train_end(self, trainer, search):
        found = {"genotype": search.genotype.to_json(), "calls": calls, "state": search.state_dict()}
        found |= {"start": self.start, "searched": search.result is not None, "steps": trainer.global_step}
        torch.save(found, f"rank{trainer.global_rank}.pt")


Trainings.train = count
pl.seed_everything(0)
tournament = Tournament(
    (1 / 16, 1 / 8), ("plain_cnn", "resnet8"), 2, 1, 1, keep=0.34, prior="none", governor=Governor(share=0.5, most=0.6),
    images=64,
)
space = StageSpace(stages=2, layers=2, types=("conv_3x3", "residual_3x3"))
search = TournamentSearch(
    (1, 8, 8), 10, space, training=WeightTraining(steps=48), budget=Budget(max_params=4000), tournament=tournament
)
trainer = pl.Trainer(
    accelerator="cpu", devices=2, strategy="ddp_find_unused_parameters_true", max_epochs=-1, limit_train_batches=8,
    limit_val_batches=1, logger=False, enable_checkpointing=False, enable_progress_bar=False, callbacks=[Leave()],
)
trainer.fit(search, Digits(batch_size=16, arch_fraction=0.0))
"""


def same(first, second):
    """Whether two states are bit-equal."""
    return first.keys() == second.keys() and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.mark.slow
def test_two_processes_find_what_one_does_and_train_it(tmp_path, run_program):
    """They measure the same, share the work, and train from the same weights to the same."""
    run_program(PROGRAM.replace("devices=2", "devices=1"))
    alone = (tmp_path / "tournament.jsonl").read_text()
    (tmp_path / "tournament.jsonl").unlink()
    run_program(PROGRAM)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert (first["searched"], second["searched"]) == (True, False)
    assert (tmp_path / "tournament.jsonl").read_text() == alone
    assert len(alone.splitlines()) - 1 == 7
    assert len(second["calls"]) >= 3  # none waits while the other one measures all
    assert 7 <= len(first["calls"]) + len(second["calls"]) <= 9
    assert not set(first["calls"]) & set(second["calls"])
    assert first["genotype"] == second["genotype"]
    assert first["steps"] == second["steps"] == 27
    assert same(first["start"], second["start"])
    for name, tensor in first["state"].items():
        if "running" not in name:  # statistics are those of the images a rank saw
            assert torch.equal(tensor, second["state"][name]), name
    assert not same(first["start"], first["state"])
