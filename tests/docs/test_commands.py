"""Commands and programs of the pages, run as printed."""

import json
import re
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import sparsenas
from sparsenas import (
    export,
    networks,
    spaces,
    tables,
)
from sparsenas.cli import main
from sparsenas.latency import read_layer_times

#: Appended to a printed command, so that it takes a second.
BRIEFLY = [
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.callbacks=ModelCheckpoint",
    "--trainer.callbacks.filename=best",
    "--data.batch_size=4",
    "--model.network.channels=8",
    "--model.network.cells=3",
]
#: The same for the kinds of search.
KINDS = {
    "photos": [
        "--trainer.callbacks.filename=last",
        "--model.budget.max_params=1e9",
        "--model.network.cells=null",
        "--model.training.seconds=2",
        "--model.tournament.random=1",
        "--model.tournament.rounds=0",
    ],
    "search_two_stage": ["--trainer.callbacks+=GenotypeFile", "--model.architecture.warmup_epochs=0"],
}
CLASSES = ("cat", "dog")


@pytest.fixture
def user_folder(docs, tmp_path, monkeypatch):
    """Where a user stands: photos of cats and dogs, and the archive that the page makes of them."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    images = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "photos" / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # restored afterwards; runs set it
    docs.run_snippet(
        *docs.code_blocks("bring_your_data.md"), "bring_your_data.md", {"images": images, "labels": labels}
    )
    return tmp_path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # runs so short make Lightning doubt their settings
def test_printed_commands_search_train_test_and_predict(docs, user_folder, capsys):
    folder_config, _ = docs.code_blocks("bring_your_data.md", "yaml")
    (user_folder / "images.yaml").write_text(re.sub(r"size: \d+", "size: 8", folder_config), encoding="utf-8")
    for command, *args in docs.command_lines("bring_your_data.md"):
        briefly = ["--data.num_workers=0"] if "images" in str(args) else []
        if command == "fit":
            briefly += [*BRIEFLY, "--data.size=8", *KINDS.get(args[1].removesuffix("_digits"), [])]
        assert main([command, *args, *briefly]) == 0, capsys.readouterr().err
    assert "test/acc" in capsys.readouterr().out
    (predictions,) = user_folder.glob("lightning_logs/*/predictions.csv")
    assert {line.split(",")[1] for line in predictions.read_text().splitlines()[1:]} <= set(CLASSES)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as above
def test_an_export_is_used_in_every_way_the_page_shows(docs, user_folder, capsys):
    digit = np.rint(load_digits().images[7] * (255 / 16)).astype(np.uint8)
    Image.fromarray(digit).save(user_folder / "seven.png")
    for command, *args in docs.command_lines("export.md"):
        assert main([command, *args, *(BRIEFLY if command == "fit" else [])]) == 0, capsys.readouterr().err
    predicted = capsys.readouterr().out.splitlines()[-1].split()
    scope, all_logits = export_page(docs)
    assert capsys.readouterr().out.split() == [predicted[1]]
    assert float(predicted[2]) == pytest.approx(float(scope["probabilities"].max()), abs=1e-4)
    for logits in all_logits:
        found = torch.as_tensor(logits).softmax(1)
        torch.testing.assert_close(found, scope["probabilities"], rtol=0, atol=1e-4)


def export_page(docs):
    """Run the snippets of the page on exports, one after another; names of the first one, logits of the others."""
    first, *others = docs.code_blocks("export.md")
    names, scope, logits = docs.run_snippet(first, "export.md"), {}, []
    try:
        for code in others:
            docs.run_snippet(code, "export.md", scope)
            logits += [torch.as_tensor(scope.pop("logits"))] if "logits" in scope else []
    finally:
        sys.modules.pop("model", None)
        sys.path.remove("digits")
        sys.path_importer_cache.pop("digits", None)
    return names, logits


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["squash", 20])
def test_the_export_page_prepares_photos_of_any_size(docs, resize, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    preparation = export.Preparation((3, 17, 17), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), resize)
    genotype = spaces.REFERENCES["resnet8"].genotype
    network = networks.DerivedNet(genotype, preparation.image_shape, 2, 8, None).eval()
    description = export.Description(preparation, CLASSES)
    images = torch.randn(3, *preparation.image_shape, generator=torch.Generator().manual_seed(0))
    export.export_network(network, network, images, description, "digits", ("pt2", "python", "onnx"))
    pixels = np.random.default_rng(0).integers(0, 256, (61, 47, 3), dtype=np.uint8)
    Image.fromarray(pixels).save("seven.png")
    scope, all_logits = export_page(docs)
    assert len(all_logits) == 3
    for logits in all_logits:
        torch.testing.assert_close(logits.softmax(1), scope["probabilities"], rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # as above
def test_archive_and_exchanged_parts_are_searched(docs, user_folder, capsys):
    _, archive_config = docs.code_blocks("bring_your_data.md", "yaml")
    (parts_config,) = docs.code_blocks("method.md", "yaml")
    (user_folder / "images.yaml").write_text(archive_config, encoding="utf-8")
    (user_folder / "parts.yaml").write_text(parts_config, encoding="utf-8")
    search_command = next(
        line for line in docs.command_lines("bring_your_data.md") if "search_two_stage_digits" in line
    )
    args = [*search_command, "--config", "parts.yaml", *BRIEFLY[-3:], "--trainer.fast_dev_run=true"]
    assert main(args) == 0, capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as above
def test_the_front_door_finds_predicts_and_exports(docs, user_folder, capsys):
    photo = (user_folder / "photos" / "cat" / "0.png").read_bytes()
    (user_folder / "new.jpg").write_bytes(photo)
    for name in CLASSES:
        for number in range(100, 160):  # enough for the batches of the config
            (user_folder / "photos" / name / f"{number}.png").write_bytes(photo)
    readme, (page, _) = docs.code_blocks("../README.md"), docs.code_blocks("python.md")
    calls = [re.findall(r"sparsenas\.search\(.*?\)|found\.\w+\(.*?\)", code) for code in (*readme, page)]
    assert calls[0] == calls[1]
    found = docs.run_snippet(readme[0].replace("minutes=5", "minutes=0.3"), "README.md")["found"]
    assert sum(p.numel() for p in found.network.parameters()) <= 50_000
    assert found.predict("new.jpg")[0].label in CLASSES
    assert "accuracy" in capsys.readouterr().out
    assert (user_folder / "my_network" / "manifest.json").is_file()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as above
def test_the_classes_beneath_search_and_train(docs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, code = docs.code_blocks("python.md")
    scope = docs.run_snippet(code.replace("epochs = 20", "epochs = 2"), "python.md")
    assert scope["training"].genotype == scope["search"].genotype
    assert 0.0 <= float(scope["trainer"].callback_metrics["test/acc"]) <= 1.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # as above
def test_milliseconds_of_the_page_are_kept(docs, user_folder, capsys):
    measure, train = docs.command_lines("spaces.md")
    assert main([*measure, "--rounds=1"]) == 0
    assert main([*train, "--model.training.seconds=0.5", "--data.num_workers=0"]) == 0, capsys.readouterr().err
    found = sparsenas.load_checkpoint(next(user_folder.rglob("last.ckpt")))
    times, width = read_layer_times("times.json"), found.model.config.channels
    assert times.latency(found.genotype, (3, 32, 32), 2, width) <= 1


def test_printed_commands_list_and_convert_tables(docs, tmp_path, monkeypatch):
    monkeypatch.delenv("SPARSENAS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    network = {"test_acc": [90.0, 91.0, 92.0], "mean_acc": 91.0, "std": 0.8, "params": 10, "flops": 20}
    networks = {"".join(digits): network for digits in product("012", repeat=8)}
    Path("nas-bench-macro_cifar10.json").write_text(json.dumps(networks))
    assert [main(args) for args in docs.command_lines("tables.md")] == [0, 0]
    assert len(tables.NasBenchMacroTable("tables/nasbench_macro.csv.gz")) == len(networks)
