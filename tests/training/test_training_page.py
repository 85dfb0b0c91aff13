"""The page on training: its settings run, together, as a user would combine them."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sparsenas.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # runs so short make Lightning doubt their settings
def test_settings_of_the_page_train_with_averaged_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, images in (("cat", 40), ("dog", 20)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(images):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    command = re.findall(r"python -m sparsenas (fit .*)", PAGE)[0]
    configs = re.findall(r"```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    for number, config in enumerate(configs):
        (tmp_path / f"{number}.yaml").write_text(config, encoding="utf-8")
    words = [*shlex.split(command), *(word for n in range(len(configs)) for word in ("--config", f"{n}.yaml"))]
    words += shlex.split("--trainer.max_epochs 2 --trainer.limit_train_batches 2 --trainer.accelerator cpu")
    assert main([*words, "--model.training.class_weights", "{cat: 2, dog: 0.5}"]) == 0, capsys.readouterr().err
    kept = torch.load(next(tmp_path.rglob("last.ckpt")), weights_only=True)
    assert kept["class_weights"][0] == pytest.approx(4 * kept["class_weights"][1])
    averaged, trained = kept["state_dict"], kept["current_model_state"]
    assert any(not torch.equal(tensor, trained[name]) for name, tensor in averaged.items())
    exported = shlex.split(
        f"export {shlex.quote(str(next(tmp_path.rglob('last.ckpt'))))} --to network --formats safetensors"
    )
    assert main(exported) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # see above
def test_the_attacked_training_of_the_page_is_tested_under_attack_and_exported(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = shlex.split(re.findall(r"python -m sparsenas (fit .*)", PAGE)[1])
    brief = shlex.split("--trainer.max_epochs 2 --trainer.limit_train_batches 4 --trainer.accelerator cpu")
    assert main([*command, *brief]) == 0, capsys.readouterr().err
    checkpoint = str(next(tmp_path.rglob("last.ckpt")))
    config = command[1:]
    test = ["test", *config, "--ckpt_path", checkpoint, "--trainer.accelerator", "cpu", "--trainer.limit_test_batches"]
    assert main([*test, "1", "--model.attacks.steps", "[1,3]"]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert "attack        PGD-3, 32/255, steps of 26.6667/255 from a random start" in said
    assert "test/acc_fgsm" in said
    assert "test/acc_pgd_3" in said
    assert main(["export", checkpoint, "--to", "network", "--formats", "safetensors"]) == 0
