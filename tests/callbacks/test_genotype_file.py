from pathlib import Path

import pytest
import torch
from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ModelCheckpoint

from sparsenas.callbacks import GenotypeFile
from sparsenas.errors import ConfigError
from sparsenas.spaces import Genotype


@pytest.fixture
def genotype_in(search_class):
    """Genotype that a search restored from a checkpoint would have."""

    def read(checkpoint):
        search = search_class()
        search.on_load_checkpoint(torch.load(checkpoint, weights_only=True))
        return search.genotype

    return read


def test_run_folder_holds_the_result(fit):
    done = fit(GenotypeFile())
    folder = Path(done.trainer.log_dir)
    assert Genotype.load(folder / "genotype.json") == done.search.genotype
    assert (folder / "genotype.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.glob("*.partial"))


@pytest.mark.slow
def test_each_checkpoint_has_its_own_genotype_beside_it(fit, tmp_path, genotype_in):
    saving = ModelCheckpoint(str(tmp_path / "saved"), "{epoch}-{val/acc:.2f}", save_top_k=-1, save_last=True)
    fit(GenotypeFile(), saving, epochs=3, enable_checkpointing=True, logger=False)
    checkpoints = sorted((tmp_path / "saved").rglob("*.ckpt"))
    assert len(checkpoints) == 4
    for checkpoint in checkpoints:
        stem = checkpoint.name.removesuffix(".ckpt")
        assert Genotype.load(checkpoint.with_name(f"{stem}.genotype.json")) == genotype_in(checkpoint)
        assert checkpoint.with_name(f"{stem}.genotype.png").is_file()
    assert len({genotype_in(checkpoint) for checkpoint in checkpoints}) == 3


def test_files_go_away_with_their_checkpoint(fit, tmp_path):
    saving = ModelCheckpoint(str(tmp_path / "saved"), save_top_k=1, monitor="epoch", mode="max")
    fit(GenotypeFile(figures=False), saving, epochs=3, enable_checkpointing=True)
    assert sorted(p.name for p in (tmp_path / "saved").iterdir()) == [
        "epoch=2-step=12.ckpt",
        "epoch=2-step=12.genotype.json",
    ]


def test_resumed_run_leaves_files_of_old_checkpoints_alone(fit, tmp_path, genotype_in):
    def saving():
        return ModelCheckpoint(str(tmp_path / "saved"), save_top_k=-1, save_last=True)

    fit(GenotypeFile(figures=False), saving(), epochs=1, enable_checkpointing=True)
    last = tmp_path / "saved" / "last.ckpt"
    fit(GenotypeFile(figures=False), saving(), epochs=2, enable_checkpointing=True, ckpt_path=str(last))
    for checkpoint in (tmp_path / "saved").glob("*.ckpt"):
        assert Genotype.load(checkpoint.with_name(f"{checkpoint.stem}.genotype.json")) == genotype_in(checkpoint)


def test_without_a_logger_the_root_folder_is_used(fit, tmp_path):
    done = fit(GenotypeFile(figures=False), logger=False)
    assert Genotype.load(tmp_path / "genotype.json") == done.search.genotype
    assert not (tmp_path / "genotype.png").exists()


def test_fast_dev_run_writes_nothing(fit, tmp_path):
    fit(GenotypeFile(), fast_dev_run=True)
    assert not list(tmp_path.rglob("*genotype*"))


@pytest.mark.slow
def test_a_failed_run_keeps_what_it_found(fit, tmp_path, search_class, genotype_in):
    class Failing(search_class):
        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            if self.batches == 6:
                raise RuntimeError("the machine broke")

    search = Failing()
    saving = ModelCheckpoint(str(tmp_path / "saved"), save_last=True)
    with pytest.raises(RuntimeError, match="the machine broke"):
        fit(GenotypeFile(), saving, search=search, logger=False, enable_checkpointing=True)
    assert search.recoveries == 3
    assert Genotype.load(tmp_path / "genotype.json") == search.genotype
    assert Genotype.load(tmp_path / "saved" / "last.genotype.json") == genotype_in(tmp_path / "saved" / "last.ckpt")
    assert (tmp_path / "genotype.png").is_file()
    assert (tmp_path / "saved" / "last.genotype.png").is_file()


def test_nothing_is_drawn_before_the_end_and_no_picture_of_another_genotype_stays(fit, tmp_path):
    seen = []

    class Watch(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            seen.append(sorted(path.name for path in tmp_path.rglob("*.png")))

    (tmp_path / "genotype.png").write_bytes(b"of an earlier run")
    fit(GenotypeFile(), Watch(), epochs=2, logger=False)
    assert seen == [[], []]
    assert (tmp_path / "genotype.png").read_bytes().startswith(b"\x89PNG")


def test_unwritable_folder_is_named(fit, tmp_path):
    (tmp_path / "genotype.json").mkdir()
    with pytest.raises(ConfigError, match=r"genotype\.json: cannot write"):
        fit(GenotypeFile(figures=False), logger=False)


def test_support_of_the_file_is_a_support_of_the_space(fit, tmp_path):
    done = fit(GenotypeFile(figures=False), logger=False)
    assert done.search.space.support(Genotype.load(tmp_path / "genotype.json")) == done.search.support
