"""Options of the plain commands, and of evaluation, that cannot work; ``refused`` says what all share."""

from pathlib import Path

import pytest

from sparsenas.checkpoints import load, save

LATENCY = "latency --space nasbench201 --cells 3 --channels 4 --image_shape 1 8 8 --rounds 1 --to"
IMAGES = "compare --config compare_images"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("nonsense", "argument command: invalid choice: 'nonsense'"),
        ("fit --data file", "--data file: is a path, and not a class: use --data ImageFolder --data.path file"),
        (
            "fit --data=other.npz",
            "--data other.npz: is a path, and not a class: use --data NpzImages --data.path other.npz",
        ),
        ("fit --data.path empty --config photos", "--data.path stands before --config, which names its class"),
        (
            "fit --config photos --data.path other.npz",
            "other.npz: is an archive, which NpzImages reads: add --data NpzImages",
        ),
        ("fit --config compare_images", "is a config of the command compare, not of fit"),
        ("validate --config train_digits", "validate needs a trained network: give its checkpoint by --ckpt_path FILE"),
        ("test --config train_digits --ckpt_path file", "--ckpt_path file: damaged, or not a checkpoint"),
        ("predict --config train_digits --ckpt_path empty", "--ckpt_path empty: is no file"),
        ("predict nowhere image.png", "nowhere: no such folder"),
        ("predict empty image.png", "empty is no whole export"),
        ("predict empty", "the following arguments are required: IMAGE"),
        ("export nowhere --to out", "nowhere: no such file"),
        ("export file --to out", "file: damaged, or not a checkpoint"),
        ("export file", "the following arguments are required: --to"),
        ("export file --to file", "file: is a file; name a folder"),
        ("export file --to file/x", "file/x: file is no folder"),
        ("export file --to .", ".: is not empty and holds no earlier export"),
        ("export file --to out --formats nonsense", "formats: 'nonsense' is unknown; known are safetensors"),
        ("draw nonsense --to x.png", "nonsense: no such file, and no genotype of that name"),
        ("draw darts_v2 --to x.xyz", "x.xyz: cannot draw to '.xyz'; use one of .png"),
        ("draw darts_v2 --to nowhere/x.png", "nowhere/x.png: cannot write"),
        ("draw darts_v2", "the following arguments are required: --to"),
        ("draw darts_v2 --to x.png --channels 16", "--channels is for staged networks"),
        ("draw resnet8 --to x.png --image_shape 3 0 32", "--image_shape has a number below 1"),
        ("draw resnet8 --to x.png --num_classes -1", "--num_classes has a number below 1"),
        ("latency --to x --space nonsense", "argument --space: invalid choice: 'nonsense'"),
        (f"{LATENCY} x --batch 0", "latency: batch is 0"),
        (f"{LATENCY} x --rounds -1", "rounds is -1; both are at least 1"),
        (f"{LATENCY} x --channels 0", "channels=0"),
        (f"{LATENCY} x --cells 0", "cells=0"),
        (f"{LATENCY} x --num_classes -5", "num_classes=-5"),
        (f"{LATENCY} x --image_shape -3 32 32", "images have -3 channels; they need at least 1"),
        (f"{LATENCY} x --image_shape 3 0 0", "images are 0x0"),
        (f"{LATENCY} x --device nonsense", "--device nonsense: Expected one of cpu"),
        (f"{LATENCY} x --device meta", "--device meta: computes nothing that could be timed"),
        (f"{LATENCY} x --any_width", "--any_width: layers have times of their own in --space stage only"),
        (f"{LATENCY} file/x", "file/x"),
        ("tables nowhere", "nowhere: cannot be read"),
        ("tables file", "file: not of a benchmark that can be converted"),
        ("compare", "the following arguments are required: --config"),
        (f"{IMAGES} --config own.yaml", "--config: compare_images and own.yaml: a comparison has one config"),
        ("compare --config file", "file: must be a mapping of"),
        ("compare --config train_digits", "is a config of the command fit"),
        (f"{IMAGES} --jobs 0", "--jobs is 0; use at least 1"),
        (f"{IMAGES} --seeds 0", "seeds is 0; use a whole number from 1 on"),
        (f"{IMAGES} --only nonsense", "--only nonsense: no such entry"),
        (f"{IMAGES} --seconds nan", "seconds is nan; use a positive number"),
        (f"{IMAGES} --max_params 0", "max_params is 0.0; use a positive number"),
        (f"{IMAGES} --max_macs -1", "max_macs is -1.0; use a positive number"),
        (f"{IMAGES} --data nowhere", "nowhere: no such folder"),
        (f"{IMAGES} --data empty", "empty: class folders: none"),
        (f"{IMAGES} --out file", "cannot write to file"),
        (f"{IMAGES} --report", "no finished run to report"),
        ("compare --config compare_nasbench201 --seeds 3", "--seeds 3 is for comparisons on images"),
    ],
)
def test_one_message(refused, command, message):
    assert message in refused(command)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_an_evaluation_of_no_batches(refused, checkpoint, command):
    part = {"validate": "val"}.get(command, command)
    message = refused(f"{command} --config train_digits --ckpt_path {checkpoint} --trainer.limit_{part}_batches 0")
    assert f"trainer.limit_{part}_batches is 0, so that nothing would happen" in message


def test_an_export_of_weights_that_are_no_numbers(refused, checkpoint):
    content = load(checkpoint)
    next(iter(content["state_dict"].values())).fill_(float("nan"))
    save("spoilt.pt", content)
    assert "weights of the network are not finite" in refused("export spoilt.pt --to out")
    assert not Path("out").exists()
