import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from tensorboard.plugins.hparams import plugin_data_pb2

from sparsenas.callbacks import HParamsSummary
from sparsenas.complexity import count_parameters
from sparsenas.errors import ConfigError


def test_hyper_parameters_stand_beside_what_they_led_to(fit):
    done = fit(HParamsSummary())
    events = done.events
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(events.summary_metadata)
    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    assert session.hparams["lr"].number_value == 0.1
    derived = done.search.network.derive(done.search.genotype)
    assert {name: session.hparams[name].number_value for name in ("best_val_acc", "parameters", "visited")} == {
        "best_val_acc": pytest.approx(max(float(e.value) for e in events.Scalars("val/acc"))),
        "parameters": count_parameters(derived),
        "visited": 5,
    }
    assert session.hparams["training_batches"].number_value == 8
    content = events.summary_metadata["_hparams_/experiment"].plugin_data.content
    experiment = plugin_data_pb2.HParamsPluginData.FromString(content).experiment
    assert [metric.name.tag for metric in experiment.metric_infos] == ["val/acc"]
    assert all(len(events.Scalars(tag)) > 1 for tag in events.Tags()["scalars"])
    assert "hp_metric" not in events.Tags()["scalars"]


def test_best_value_survives_a_resume(fit, tmp_path):
    saving = ModelCheckpoint(str(tmp_path / "saved"), save_last=True)
    first, second = HParamsSummary(), HParamsSummary("val/loss", "min")
    fit(first, saving, epochs=1, enable_checkpointing=True)
    path = tmp_path / "saved" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["callbacks"]["HParamsSummary"]["best"] = -1.0
    torch.save(checkpoint, path)
    fit(second, epochs=2, ckpt_path=str(path))
    assert second.state_dict()["best"] == -1.0


def test_without_tensorboard_nothing_happens(fit):
    assert fit(HParamsSummary(), logger=False).trainer.loggers == []


def test_nonsense_is_refused():
    with pytest.raises(ConfigError, match="mode is 'best'; use 'max' or 'min'"):
        HParamsSummary(mode="best")
