"""Networks of timm: those of timm itself, weights of a file, and what is wrong in one clear message."""

import socket
import sys

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from sparsenas.api.compare import image_session
from sparsenas.api.messages import user_errors
from sparsenas.comparison.images import make_image_report, read_image_plan
from sparsenas.comparison.images.clock import Clock, accuracy_on
from sparsenas.comparison.images.common import Common
from sparsenas.comparison.images.contestant import compete
from sparsenas.comparison.images.timm_network import TimmNetwork
from sparsenas.complexity import describe
from sparsenas.data import Digits
from sparsenas.errors import BudgetError, ConfigError, SparseNASError
from sparsenas.limits import Limits
from sparsenas.networks import young_norms
from sparsenas.spaces import StageSpace
from sparsenas.training import WeightTraining

#: The smallest networks of timm, made for tests.
MODEL, FIXED = "test_efficientnet", "test_vit"
IMAGES = torch.linspace(-1, 1, 3 * 64).reshape(3, 1, 8, 8)


@pytest.fixture
def common(tmp_path):
    """What competitors share: digits, and a budget that the small network keeps."""
    data = Digits(seed=0, arch_fraction=0.0)
    data.setup("fit")
    training = WeightTraining(seconds=1.0, gradient_clip=0.0)
    return Common(data, StageSpace(stages=2, layers=2), Limits(max_params=2e5), training, Clock(10.0), 0, tmp_path)


@pytest.fixture
def weights(tmp_path):
    """Writes the weights of a network of timm; gives their file."""

    def run(model=MODEL, name="weights.safetensors", seed=1, **options):
        torch.manual_seed(seed)
        network = timm.create_model(model, **{"in_chans": 1, "num_classes": 10} | options)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as after a training
                module.running_mean.uniform_(-0.1, 0.1)
                module.num_batches_tracked.fill_(1000)
        save_file(network.state_dict(), tmp_path / name)
        return str(tmp_path / name)

    return run


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*args):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def network(common, **options):
    return TimmNetwork(MODEL, **options).decide(common).module.built.eval()


def test_a_network_and_its_counts_are_those_of_timm(common, weights, no_network):
    file = weights()
    theirs = timm.create_model(MODEL, in_chans=1, num_classes=10).eval()
    theirs.load_state_dict(load_file(file))
    ours = network(common, pretrained=file)
    torch.testing.assert_close(ours(IMAGES), theirs(IMAGES))
    assert describe(network(common), (1, 8, 8)).parameters == sum(p.numel() for p in theirs.parameters())
    assert not torch.allclose(network(common)(IMAGES), theirs(IMAGES))


def test_a_seed_decides_new_weights(common):
    first, again = network(common), network(common)
    torch.testing.assert_close(first(IMAGES), again(IMAGES), rtol=0, atol=0)
    common.seed = 1
    assert not torch.allclose(network(common)(IMAGES), first(IMAGES))


def test_other_classes_get_a_new_classifier_and_keep_the_features(common, weights, no_network):
    file = weights(num_classes=7)
    theirs = timm.create_model(MODEL, in_chans=1, num_classes=7).eval()
    theirs.load_state_dict(load_file(file))
    decision = TimmNetwork(MODEL, file).decide(common)
    ours = decision.module.built.eval()
    torch.testing.assert_close(ours.forward_features(IMAGES), theirs.forward_features(IMAGES))
    assert ours(IMAGES).shape == (3, 10)
    assert "and a new classifier" in decision.remark
    assert describe(ours, (1, 8, 8)) == describe(network(common), (1, 8, 8))
    assert "state_dict" not in ours.pretrained_cfg  # each copy would hold it, too


def test_weights_for_colours_serve_grey_images(common, weights):
    file = weights(in_chans=3)
    theirs = timm.create_model(MODEL, in_chans=3, num_classes=10).eval()
    theirs.load_state_dict(load_file(file))
    ours = network(common, pretrained=file)
    # on three equal channels, theirs computes the same
    first, other = ours.conv_stem(IMAGES), theirs.conv_stem(IMAGES.expand(-1, 3, -1, -1))
    torch.testing.assert_close(first, other)


def test_a_checkpoint_of_torch_serves_as_well(common, weights, tmp_path):
    file = weights()
    state = {f"module.{name}": tensor for name, tensor in load_file(file).items()}
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "checkpoint.pth.tar")
    ours = network(common, pretrained=str(tmp_path / "checkpoint.pth.tar"))
    torch.testing.assert_close(ours(IMAGES), network(common, pretrained=file)(IMAGES))


def test_a_network_of_one_image_size_is_built_for_that_of_the_data(common, weights, tmp_path):
    """And its weights for another size are adapted by timm."""
    common.data.image_shape, common.limits = (3, 32, 32), Limits(max_params=1e6)
    file = weights(FIXED, in_chans=3, img_size=64)
    ours = TimmNetwork(FIXED, file).decide(common).module.built
    assert ours.patch_embed.img_size == (32, 32)
    torch.testing.assert_close(ours.blocks[0].attn.qkv.weight, load_file(file)["blocks.0.attn.qkv.weight"])


@pytest.mark.filterwarnings("ignore")  # trainings so short make Lightning doubt their settings
def test_statistics_of_other_images_are_replaced(common, weights, one_thread):
    """What is heard early is the accuracy by statistics of these images, however old the ones of the file were."""
    module, heard = TimmNetwork(MODEL, weights()).decide(common).module, []

    def hear(point, accuracy):
        assert young_norms(module.built)
        module.recalibrate()
        heard.append((accuracy, accuracy_on(module, common.validation.batches)))
        return len(heard) == 3

    common.train(module, lambda _: 2.0, 20, hear)
    assert [accuracy for accuracy, _ in heard] == pytest.approx([again for _, again in heard], abs=0.02)


def test_a_smaller_learning_rate_is_a_factor_of_that_of_the_recipe(common):
    for given, factor in ((1.0, 1.0), (0.1, 0.1), ("1e-1", 0.1)):
        optimizer = TimmNetwork(MODEL, lr_factor=given).decide(common).module.make_optimizer()
        assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.025 * factor)]
        assert optimizer.param_groups[0]["momentum"] == 0.9


def test_a_network_above_the_budget_is_impossible(common):
    common.limits = Limits(max_params=5e4, max_macs=1e9)
    with pytest.raises(
        BudgetError, match=r"one size: the network needs 101,334 parameters and .* MACs; allowed are 50,0"
    ):
        TimmNetwork(MODEL).decide(common)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_run_is_a_row_that_is_marked(contest, write, weights, one_thread):
    contest |= {"budget": {"max_params": 2e5}, "seconds": 1.2}
    contest["competitors"] = {
        "resnet8": {"reference": "resnet8"},
        "small": {"timm": MODEL},
        "tuned": {"timm": {"model": MODEL, "pretrained": weights()}},
    }
    plan = read_image_plan(write(contest))
    records = [compete(run.searcher, run.seed, run.digest, run.settings) for run in plan.runs]
    report = make_image_report(plan, records)
    rows = {row.name: row for row in report.rows}
    for name in ("small", "tuned"):
        assert rows[name].runs == 1
        assert rows[name].parameters == 101_334
        assert rows[name].macs > 0
        assert rows[name].seconds == pytest.approx(contest["seconds"], rel=0.3)
        assert rows[name].mean > 20  # chance is 10
    assert [rows[name].pretrained for name in ("resnet8", "small", "tuned")] == [False, False, True]
    assert report.best_reference == "resnet8"  # whatever others reach, they are no references of ours
    assert "| small (timm) |" in report.text
    assert "| tuned (timm, pretrained) |" in report.text


def test_weights_of_a_file_are_part_of_the_plan(contest, write, weights, common):
    """A run by other weights does not count, and none is made with a file that has changed."""
    contest["competitors"] = {"tuned": {"timm": {"model": MODEL, "pretrained": weights()}}}
    (before,) = read_image_plan(write(contest)).runs
    weights(seed=2)
    (after,) = read_image_plan(write(contest)).runs
    assert before.digest != after.digest
    with pytest.raises(ConfigError, match=r"weights\.safetensors has the sha256 .* is asked for"):
        TimmNetwork(**before.settings["options"]).decide(common)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"model": 3}, "model is 3, which is no text"),
        ({"model": MODEL, "pretrained": True}, "pretrained is True, which is no text"),
        ({"model": MODEL, "lr_factor": 0}, "lr_factor is 0; use a positive number"),
        ({"pretrained": "x.safetensors"}, "model is missing"),
        ({"model": MODEL, "weights": "x"}, "unknown entry 'weights'"),
        (
            {"model": MODEL, "pretrained": "gone.safetensors"},
            "pretrained: gone.safetensors cannot be read .No such file",
        ),
        ({"model": MODEL, "pretrained": "."}, "pretrained: . is no file"),
    ],
)
def test_a_mistake_of_the_entry_is_named(contest, write, entry, message):
    contest["competitors"] = {"x": {"timm": entry}}
    with pytest.raises(ConfigError, match=rf"competitors\.x\.timm: .*{message}"):
        read_image_plan(write(contest))


def check(contest, write, tmp_path, entry):
    contest["competitors"] = {"x": {"timm": entry}}
    session = image_session(write(contest), tmp_path / "out")
    with user_errors():
        session.check()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mobilenetv3_smal_050", "has no model 'mobilenetv3_smal_050'; did you mean mobilenetv3_small_050 or"),
        ("hf-hub:timm/resnet18.a1_in1k", "has no model 'hf-hub:timm/resnet18.a1_in1k'; "),
        ("resnet18.no_such_tag", "cannot classify images of 1x8x8: Invalid pretrained tag"),
        (FIXED, r"cannot classify images of 1x8x8: Input height \(8\) should be divisible by patch size"),
    ],
)
def test_what_cannot_be_built_is_found_before_the_first_run(contest, write, tmp_path, no_network, model, message):
    with pytest.raises(SparseNASError, match=rf"competitors\.x: .*{message}"):
        check(contest, write, tmp_path, model)


@pytest.mark.slow
def test_files_that_hold_no_such_weights_are_refused(contest, write, weights, tmp_path):
    contest["budget"] = {"max_params": 2e5}
    whole = tmp_path / "whole.pth"
    torch.save(load_file(weights()), whole)
    flipped = bytearray(whole.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    safe = tmp_path / "weights.safetensors"
    files = {
        "cut.safetensors": safe.read_bytes()[:-100],
        "flipped.pth": bytes(flipped),
        "text.safetensors": b"weights",
        "empty.pth": b"",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SparseNASError, match=rf"competitors\.x: pretrained: .*{name} is damaged, or no file of w"):
            check(contest, write, tmp_path, {"model": MODEL, "pretrained": str(tmp_path / name)})
    torch.save({"code": timm.create_model}, tmp_path / "code.pth")
    torch.save({}, tmp_path / "nothing.pth")
    for name in ("code.pth", "nothing.pth"):
        with pytest.raises(SparseNASError, match=rf"{name} is damaged, or no file of weights"):
            check(contest, write, tmp_path, {"model": MODEL, "pretrained": str(tmp_path / name)})
    other = weights("test_resnet", "other.safetensors")
    with pytest.raises(SparseNASError, match=f"does not hold the weights of {MODEL} of timm .Error"):
        check(contest, write, tmp_path, {"model": MODEL, "pretrained": other})


def test_layers_of_others_are_in_no_latency_table(common):
    common.limits = Limits(max_latency_ms=1.0, latency_table="times.json")
    with pytest.raises(ConfigError, match=f"a latency table knows layers of ours only, not those of {MODEL}"):
        TimmNetwork(MODEL).decide(common)


def test_a_missing_timm_is_named_before_the_first_run(contest, write, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"pip install 'sparsenas\[timm\]'"):
        check(contest, write, tmp_path, MODEL)
