"""Options of the trainer that cannot work, or would do nothing; ``refused`` says what all share."""

import pytest

TRAINING = (
    "fit --config train_digits --model.network.channels 4 --model.network.cells 3 --trainer.max_epochs 1 "
    "--trainer.limit_train_batches 2 --trainer.limit_val_batches 1 --trainer.log_every_n_steps 1"
)
CALLBACK = "--trainer.callbacks"
EARLY = f"{CALLBACK} EarlyStopping {CALLBACK}.monitor"
CHECKPOINT = f"{CALLBACK} ModelCheckpoint {CALLBACK}"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--trainer.max_epochs 0", "trainer.max_epochs is 0, so that nothing would happen"),
        ("--trainer.limit_train_batches 0", "trainer.limit_train_batches is 0"),
        ("--trainer.check_val_every_n_epoch 0", "trainer.check_val_every_n_epoch is 0"),
        ("--trainer.devices -1", "`devices` selected with `CPUAccelerator` should be an int > 0"),
        ("--trainer.devices 0", "not a valid input"),
        ("--trainer.strategy nonsense", "invalid strategy name"),
        ("--trainer.strategy fsdp", "requires a GPU"),
        ("--trainer.precision 7", "precision"),
        ("--trainer.accumulate_grad_batches 0", "trainer.accumulate_grad_batches is 0"),
        ("--seed_everything -4", "-4 is not in bounds"),
        ("--trainer.accelerator nonsense", "invalid accelerator name"),
        ("--trainer.num_nodes 0", "`num_nodes` must be a positive integer"),
        ("--trainer.strategy ddp_spawn --trainer.devices 2", "trainer.strategy starts processes by spawn"),
        ("--trainer.max_steps 0", "trainer.max_steps is 0, so that nothing would happen"),
        ("--trainer.max_steps -2", "`max_steps` must be a non-negative integer or -1"),
        ("--trainer.max_epochs -1", "trainer.max_epochs is not set; schedule and drop-path go over its epochs"),
        ("--trainer.min_epochs 5", "trainer.min_epochs is 5, more than the 1 of trainer.max_epochs"),
        ("--trainer.min_steps -5", "trainer.min_steps is -5; use 0 or more"),
        ("--trainer.max_time abc", "not a valid duration"),
        ("--trainer.max_time 00:00:00:00", "trainer.max_time is 0 seconds, so that nothing would happen"),
        ("--trainer.max_time '{fortnights: 1}'", "trainer.max_time: unknown unit 'fortnights'; use weeks, days"),
        ("--trainer.limit_val_batches 2.5", "invalid value 2.5 for limit_val_batches"),
        ("--trainer.limit_test_batches -1", "invalid value -1 for limit_test_batches"),
        ("--trainer.limit_predict_batches 1.5", "invalid value 1.5 for limit_predict_batches"),
        ("--trainer.limit_train_batches 0.0001", "Please increase the `limit_train_batches` argument"),
        ("--trainer.overfit_batches -1", "invalid value -1 for overfit_batches"),
        ("--trainer.val_check_interval 0", "trainer.val_check_interval is 0; use a positive number"),
        ("--trainer.val_check_interval 100", "`val_check_interval` (100) must be less than or equal to"),
        ("--trainer.gradient_clip_val -1", "trainer.gradient_clip_val is -1; use a positive number"),
        ("--trainer.gradient_clip_algorithm up", "`gradient_clip_algorithm` up is invalid"),
        ("--trainer.num_sanity_val_steps -2", "trainer.num_sanity_val_steps is -2"),
        ("--trainer.log_every_n_steps -1", "trainer.log_every_n_steps is -1"),
        ("--trainer.reload_dataloaders_every_n_epochs -1", "`reload_dataloaders_every_n_epochs` should be an int >= 0"),
        ("--trainer.fast_dev_run -1", "fast_dev_run=-1 is not a valid configuration"),
        ("--trainer.deterministic maybe", "trainer.deterministic: expected bool"),
        ("--trainer.barebones true", "`Trainer(barebones=True"),
        ("--trainer.enable_checkpointing false", "`enable_checkpointing=False` but found `ModelCheckpoint`"),
        ("--trainer.profiler nonsense", "`profiler` parameter of `Trainer`"),
        ("--trainer.plugins Nonsense", "trainer.plugins: unknown class 'Nonsense'"),
        ("--trainer.logger Nonsense", "trainer.logger: unknown class 'Nonsense'"),
        ("--trainer.logger CometLogger", "Requirement 'comet-ml"),
        ("--trainer.logger.save_dir file", "cannot write to file"),
        ("--trainer.default_root_dir file", "file: is a file; name a folder by --trainer.default_root_dir"),
        ("--trainer.nonsense 1", "unrecognized arguments: --trainer.nonsense 1"),
        (f"{CALLBACK} Nonsense", "unknown class 'Nonsense'"),
        (f"{CALLBACK} torch.nn.Linear", "does not correspond to a subclass of Callback"),
        (f"{CALLBACK} LearningRateMonitor --trainer.logger false", "`Trainer` that has no logger"),
        (f"{CALLBACK} BatchSizeFinder", "BatchSizeFinder is not supported"),
        (f"{CALLBACK} EMAWeightAveraging {CALLBACK}.decay 2", "Invalid decay value 2.0"),
        (
            f"{CALLBACK} StochasticWeightAveraging {CALLBACK}.swa_lrs 0.1 {CALLBACK}.swa_epoch_start 5",
            "swa_epoch_start is 5, but the run has 1 epochs, so that nothing would be averaged",
        ),
        (f"{EARLY} nothing", "EarlyStopping: monitor is 'nothing', but StandAloneTraining logs train/loss"),
        (f"{EARLY} val/acc {CALLBACK}.mode up", "`mode` can be min, max, got up"),
        (f"{EARLY} val/acc {CALLBACK}.patience -1", "EarlyStopping: patience is -1; use 0 or more"),
        (f"{CHECKPOINT}.monitor val/accuracy", "ModelCheckpoint: monitor is 'val/accuracy'"),
        (f"{CHECKPOINT}.save_top_k 3", "No quantity for top_k to track"),
        (f"{CHECKPOINT}.every_n_epochs -1", "Invalid value for every_n_epochs=-1"),
        (f"{CHECKPOINT}.every_n_epochs 1 {CALLBACK}.every_n_train_steps 1", "should be mutually exclusive"),
    ],
)
def test_one_message_before_training(refused, options, message):
    assert message in refused(TRAINING, options)
