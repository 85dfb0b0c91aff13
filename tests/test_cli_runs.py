"""Runs of the command line: files, what comes next, and how they go on."""

import csv
import os
import re
import shlex
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from sparsenas.api.messages import user_error
from sparsenas.cli import main, outcome
from sparsenas.cli.resume import differences
from sparsenas.data import Digits
from sparsenas.errors import CheckpointError
from sparsenas.spaces import read_genotype

#: The smallest training that goes through everything: two epochs of two batches of a tiny network.
TINY = shlex.split(
    "--trainer.accelerator cpu --trainer.max_epochs 2 --trainer.limit_train_batches 2 --trainer.limit_val_batches 1 "
    "--trainer.log_every_n_steps 1"
)
TINY_NETWORK = shlex.split("--model.network.channels 4 --model.network.cells 3")
TINY_TRAINING = ["fit", "--config", "train_digits", *TINY_NETWORK, *TINY]
TINY_SEARCH = [
    *["fit", "--config", "search_two_stage_digits", *TINY_NETWORK],
    *["--model.architecture.warmup_epochs", "0", "--model.signal.every", "1"],
    *TINY,
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Commands run in an empty folder that is neither the clone nor the package."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a finished tiny training, as seen from the folder it was started in."""
    folder = tmp_path_factory.mktemp("trained")
    here = Path.cwd()
    os.chdir(folder)
    try:
        assert main(TINY_TRAINING) == 0
    finally:
        os.chdir(here)
    return folder / "lightning_logs" / "version_0"


@pytest.fixture
def again(trained):
    """A copy of that run in the present folder, to go on with."""
    shutil.copytree(trained.parent, "lightning_logs")
    return Path("lightning_logs/version_0")


@pytest.mark.slow
def test_a_search_ends_by_saying_what_comes_next(capsys, tmp_path):
    assert main(TINY_SEARCH) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[-6:])
    run = Path("lightning_logs/version_0")
    assert rows["best"].startswith("val/acc ")
    assert rows["genotype"] == str(run / "genotype.json")
    assert rows["checkpoint"] == str(run / "checkpoints" / "best.ckpt")
    assert rows["report"] == str(run / "report.html")
    assert rows["figures"] == "tensorboard --logdir lightning_logs"
    assert rows["next"] == f"python -m sparsenas fit --config train_digits --model.genotype {rows['genotype']}"
    assert (run / "config.yaml").is_file()
    options = shlex.split(rows["next"])[3:]
    assert main([*options, *TINY_NETWORK, *TINY, "--trainer.fast_dev_run", "true"]) == 0


@pytest.mark.slow
def test_the_next_command_fits_a_cell_of_another_space(capsys):
    other = "--model.space NasBench201Space --model.network.stem cifar --model.recovery.compressed_size 12"
    assert main([*TINY_SEARCH, *other.split()]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[-5:])
    assert rows["next"].endswith("genotype.json --model.network.stem cifar --model.training.auxiliary_weight 0")
    options = shlex.split(rows["next"])[3:]
    assert main([*options, *TINY_NETWORK, *TINY, "--trainer.fast_dev_run", "true"]) == 0


CHAIN = "--model.network.stem cifar --model.training.auxiliary_weight 0 --model.training.drop_path 0"


def test_what_a_training_config_must_give_up_for_a_chain():
    for name in ("22212202", "resnet8"):
        words = [str(word) for word in outcome._adapted(read_genotype(name))]
        assert words == [*CHAIN.split(), "--model.network.cells", "null"]
    assert not list(outcome._adapted(read_genotype("darts_v2")))


@pytest.mark.slow
def test_the_next_command_fits_a_staged_network(capsys):
    space = "--model.space StageSpace --model.space.growths [2.0] --model.network.stem cifar --model.network.cells null"
    space += " --model.recovery.unit_weights true"
    assert main([*TINY_SEARCH, *space.split()]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines()[-5:])
    assert rows["next"].endswith(f"genotype.json {CHAIN} --model.network.cells null")
    options = [*shlex.split(rows["next"])[3:], "--model.network.channels", "4"]
    assert main([*options, *TINY, "--trainer.fast_dev_run", "true"]) == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Please add the following callbacks. .'Timer'")  # it is to be left out
def test_a_run_out_of_time_says_how_to_go_on_without_the_clock(capsys):
    length = "--model.training.seconds null --model.training.steps 1000 --model.tournament.rungs [0.005]"
    assert main(["fit", *TINY_NETWORK, *TINY, *length.split(), "--trainer.max_time", "00:00:00:02"]) == 0
    following = capsys.readouterr().out.splitlines()[-1]
    assert following.endswith(" --trainer.max_time null")
    command = shlex.split(following.partition("python -m sparsenas ")[2])
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1].partition("python -m sparsenas ")[2].startswith("export ")


def test_data_decide_shape_and_classes_also_in_the_checkpoint(trained):
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    assert tuple(checkpoint["hyper_parameters"]["image_shape"]) == (1, 8, 8)
    assert checkpoint["hyper_parameters"]["num_classes"] == 10


@pytest.mark.slow
def test_test_reports_accuracy_and_cost(trained, capsys):
    config, best = str(trained / "config.yaml"), str(trained / "checkpoints" / "best.ckpt")
    assert main(["test", "--config", config, "--ckpt_path", best]) == 0
    output = capsys.readouterr().out
    assert "test/acc" in output
    assert re.search(r"^network +[\d.]+ [kM] parameters, [\d.]+ [kM] MACs$", output, re.MULTILINE)
    assert re.search(r"^input +1x8x8$", output, re.MULTILINE)


@pytest.mark.slow
def test_predict_writes_a_row_per_image(trained, capsys, tmp_path):
    last = str(trained / "checkpoints" / "last.ckpt")
    assert main(["predict", "--config", str(trained / "config.yaml"), "--ckpt_path", last]) == 0
    path = Path(capsys.readouterr().out.splitlines()[-1].split(maxsplit=1)[1])
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [int(row["index"]) for row in rows] == list(range(len(Digits().parts.test.indices)))
    for row in rows:
        by_class = {name: float(row[f"p({name})"]) for name in "0123456789"}
        assert sum(by_class.values()) == pytest.approx(1, abs=1e-4)
        assert float(row["probability"]) == max(by_class.values()) == by_class[row["predicted"]]
    names, parts = Digits().class_names, Digits().parts
    assert [row["label"] for row in rows] == [names[label] for label in parts.test.dataset.labels]


@pytest.mark.slow
def test_a_resumed_run_goes_on_and_says_what_the_checkpoint_decides(again, capsys):
    last = str(again / "checkpoints" / "last.ckpt")
    args = ["fit", "--config", str(again / "config.yaml"), "--ckpt_path", last]
    assert main([*args, "--trainer.max_epochs", "3", "--model.training.drop_path", "0.4"]) == 0
    captured = capsys.readouterr()
    assert "epoch 3/3" in captured.out
    assert "epoch 2/3" not in captured.out
    assert f"settings of the checkpoint {last} are used:\n  --model.training.drop_path: 0.1, not 0.4\n" in captured.err


@pytest.mark.slow
def test_a_finished_run_that_is_resumed_still_names_its_best(trained, again, capsys):
    last = str(again / "checkpoints" / "last.ckpt")
    kept = torch.load(last, weights_only=True)["callbacks"].values()
    score = next(state["best_model_score"] for state in kept if state.get("monitor") == "val/acc")
    assert main(["fit", "--config", str(again / "config.yaml"), "--ckpt_path", last]) == 0
    best = Path("lightning_logs/version_0/checkpoints/best.ckpt")
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if line.strip())
    assert (rows["best"], rows["checkpoint"]) == (f"val/acc  {float(score):.4f}", str(best))
    assert rows["network"].endswith("MACs")
    assert best.read_bytes() == (trained / "checkpoints" / "best.ckpt").read_bytes()


@pytest.mark.slow
def test_no_note_when_nothing_differs(trained, capsys):
    last = str(trained / "checkpoints" / "last.ckpt")
    assert main(["validate", "--config", str(trained / "config.yaml"), "--ckpt_path", last]) == 0
    assert "settings of the checkpoint" not in capsys.readouterr().err


def test_differences_compare_genotypes_by_content():
    from sparsenas.spaces import PUBLISHED

    asked = {"init_args": {"genotype": "darts_v2", "sizes": (1, 2), "part": {"a": 1, "b": 2}}}
    kept = {"init_args": {"genotype": PUBLISHED["darts_v2"].to_json(), "sizes": [1, 2], "part": {"a": 1, "b": 3}}}
    assert differences(asked, kept) == ["--model.part.b: 3, not 2"]
    kept["init_args"]["genotype"] = PUBLISHED["ista_nas_two_stage"].to_json()
    assert len(differences(asked, kept)) == 2


@pytest.mark.slow
def test_damaged_and_foreign_checkpoints(trained, run_error, tmp_path):
    whole = (trained / "checkpoints" / "last.ckpt").read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.ckpt").write_text("hello")
    torch.save({"weights": 1}, tmp_path / "other.ckpt")
    train = ["fit", "--config", str(trained / "config.yaml"), "--ckpt_path"]
    for name in ("cut.ckpt", "text.ckpt"):
        assert run_error(*train, name).startswith(
            f"--ckpt_path {name}: damaged, or not a checkpoint; give a .ckpt file"
        )
    assert run_error(*train, "other.ckpt").startswith("--ckpt_path other.ckpt: not a checkpoint of a run")
    last = str(trained / "checkpoints" / "last.ckpt")
    assert "is a checkpoint of StandAloneTraining, but the config asks for TournamentSearch" in run_error(
        "fit", "--config", "quickstart", "--ckpt_path", last
    )
    assert "was trained with image_shape (1, 8, 8), but --data has (1, 28, 28)" in run_error(
        *train, last, "--data", "FashionMnist"
    )


class _RunsCode:
    def __reduce__(self):
        return os.mkdir, ("executed",)


@pytest.mark.slow
def test_a_checkpoint_cannot_run_code(trained, run_error, tmp_path):
    torch.save({"state_dict": {}, "x": _RunsCode()}, tmp_path / "evil.ckpt")
    args = ["test", "--config", str(trained / "config.yaml"), "--ckpt_path", "evil.ckpt"]
    assert "damaged, or not a checkpoint" in run_error(*args)
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_its_checkpoint_and_says_how_to_go_on(signum, code, tmp_path, python_m):
    process = python_m(*TINY_TRAINING, "--trainer.max_epochs", "1000", cwd=tmp_path)
    for line in process.stdout:
        if line.startswith("epoch    2/1000"):
            process.send_signal(signum)
            break
    output, _ = process.communicate(timeout=300)
    assert process.returncode == code
    assert "Traceback" not in output
    last = re.search(r"sparsenas: interrupted; the last checkpoint is (\S+)\n", output)[1]
    names = {"last.ckpt"} if signum == signal.SIGINT else {"last.ckpt", "within_epoch.ckpt"}
    assert Path(last).name in names
    epoch = torch.load(tmp_path / last, weights_only=True)["epoch"] + 1
    command = shlex.split(output.partition("go on with: python -m sparsenas ")[2].splitlines()[0])
    assert main([*command, "--trainer.max_epochs", str(epoch + 1)]) == 0


@pytest.mark.slow
def test_an_interrupted_tournament_keeps_what_it_measured_and_says_how_to_go_on(tmp_path, capsys, python_m):
    process = python_m("fit", *TINY_NETWORK, *TINY, "--model.training.seconds", "15", cwd=tmp_path)
    file = tmp_path / "lightning_logs" / "version_0" / "tournament.jsonl"
    end = time.monotonic() + 300
    while not (file.is_file() and len(file.read_text().splitlines()) > 1):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "sparsenas: interrupted while measuring; what was measured is kept\n" in output
    kept = file.read_text().splitlines()
    command = shlex.split(output.partition("go on with: python -m sparsenas ")[2].splitlines()[0])
    assert main(command) == 0
    assert "found: " in capsys.readouterr().out
    assert 1 < len(kept) < len(file.read_text().splitlines())
    assert file.read_text().splitlines()[: len(kept)] == kept


@pytest.mark.slow
def test_an_interruption_before_the_first_checkpoint_says_so(tmp_path, python_m):
    process = python_m(*TINY_TRAINING, "--trainer.limit_train_batches", "1.0", cwd=tmp_path)
    for line in process.stdout:
        if line.startswith("Seed set to"):
            process.send_signal(signal.SIGINT)
            break
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "sparsenas: interrupted; no" in output
    assert "Traceback" not in output


def test_the_next_command_after_a_search_on_own_images_names_them_and_a_config_that_runs_anywhere():
    options = {"path": "my photos", "size": 16, "augmentation": {"flip": False}}
    images = {"class_path": "sparsenas.data.ImageFolder", "init_args": options}
    words = [str(word) for word in outcome._training_of(Path("genotype.json"), {"data": images})]
    assert words == [
        *("--config", "train_digits", "--model.genotype", "genotype.json"),
        *("--data", "ImageFolder", "--data.path", "my photos", "--data.size", "16"),
    ]


def test_a_checkpoint_of_another_network_is_an_error_of_the_user():
    network = torch.nn.Linear(2, 3)
    with pytest.raises(RuntimeError) as caught:
        network.load_state_dict(torch.nn.Linear(2, 4).state_dict())
    mistake = user_error(caught.value)
    assert isinstance(mistake, CheckpointError)
    assert str(mistake).startswith("the checkpoint does not fit the model: size mismatch for weight")
    assert user_error(RuntimeError("something else")) is None
