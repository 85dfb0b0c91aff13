"""Settings of a training and of its images that cannot work, or would do nothing; ``refused`` says what all share."""

import shlex
from pathlib import Path

import pytest

from sparsenas.cli import main

TRAINING = (
    "fit --config train_digits --model.network.channels 4 --model.network.cells 3 --trainer.max_epochs 1 "
    "--trainer.limit_train_batches 2 --trainer.limit_val_batches 1 --trainer.log_every_n_steps 1"
)
OPTIMIZER = "--model.training.optimizer"
LR, ADAM = f"{OPTIMIZER}.init_args.lr", f"{OPTIMIZER} Adam {OPTIMIZER}.init_args"


@pytest.mark.slow
def test_a_tournament_may_train_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split("fit --model.training.seconds 4 --trainer.max_epochs 0")) == 0
    assert list(Path().rglob("result.json"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (f"{LR} -1", "training.optimizer: Invalid learning rate: -1"),
        (f"{LR} 0", "training.optimizer: lr is 0; use a positive number"),
        (f"{LR} nan", "training.optimizer"),
        ("--model.training.optimizer.init_args.momentum -1", "training.optimizer: Invalid momentum value"),
        ("--model.training.gradient_clip -1", "training: gradient_clip=-1"),
        ("--model.training.label_smoothing 2", "label_smoothing=2"),
        ("--model.network.channels 100000000", "network.channels is 100000000; use 1 to 65,536"),
        ("--model.network.channels 0", "network.channels is 0; use 1 to 65,536"),
        ("--model.network.cells -2", "network.cells is -2; use 1 to 1,000"),
        ("--model.num_classes 3", "--model.num_classes: is known from the data; leave it out"),
        ("--model.init_args.image_shape=[1,2,2]", "--model.init_args.image_shape: is known from the data"),
        ("--model.seed -1", "seed is -1"),
        ("--data.augmentation.cutout 100", "data.augmentation.cutout is 100, more than the 8 pixels"),
        ("--data.augmentation.crop_padding 100", "data.augmentation.crop_padding is 100"),
        ("--data.augmentation.cutout -1", "data.augmentation.cutout is -1"),
        ("--data.val_fraction 2", "val_fraction"),
        ("--data.batch_size 0", "batch_size"),
        (f"{OPTIMIZER} torch.optim.Nonsense", "training.optimizer: module 'torch.optim' has no attribute"),
        (
            f"{OPTIMIZER} torch.nn.Linear",
            "training.optimizer: expected 'torch.nn.Linear' to be a subclass of Optimizer",
        ),
        (f"{OPTIMIZER} null", "training.optimizer: expected import path"),
        (f"{OPTIMIZER} SparseAdam", "training.optimizer: SparseAdam does not support dense gradients"),
        (f"{OPTIMIZER} Muon", "training.optimizer: Muon only supports 2D parameters"),
        (f"{OPTIMIZER}.init_args.lrr 1", "training.optimizer: option 'lrr' is not accepted"),
        (f"{OPTIMIZER}.init_args.momentum 2", "training.optimizer: momentum is 2; use a number in [0, 1)"),
        (f"{OPTIMIZER}.init_args.momentum 0", "training.optimizer: Nesterov momentum requires a momentum"),
        (f"{OPTIMIZER}.init_args.weight_decay .nan", "training.optimizer.weight_decay is nan; use a finite number"),
        (f"{OPTIMIZER}.init_args.maximize true", "training.optimizer: maximize is true, but a training makes its loss"),
        (
            f"{OPTIMIZER}.init_args.nesterov false {OPTIMIZER}.init_args.dampening 5",
            "training.optimizer: dampening is 5; use a number in [0, 1]",
        ),
        (f"{ADAM}.betas [2,3]", "training.optimizer: Invalid beta parameter at index 0"),
        (f"{ADAM}.betas [0.9]", "training.optimizer.betas: expected tuple with 2 elements; got '[0.9]'"),
        (f"{ADAM}.eps -1", "training.optimizer: Invalid epsilon value"),
        (f"{ADAM}.amsgrad maybe", "training.optimizer.amsgrad: expected bool"),
        ("--model.training.gradient_clip .inf", "model.training.gradient_clip is inf; use a finite number"),
        ("--model.training.auxiliary_weight .nan", "model.training.auxiliary_weight is nan"),
        ("--model.training.drop_path 1", "drop_path=1.0; both lie in [0, 1)"),
        ("--model.training.steps 0", "training.steps is 0; use a positive number"),
        (
            "--model.training.steps 3 --model.training.seconds 3",
            "training.steps is 3 and training.seconds 3.0; set one",
        ),
        ("--model.training.seconds -1", "training.seconds is -1.0"),
        ("--model.training.clock sun", "training.clock: expected one of 'auto', 'wall'; got 'sun'"),
        ("--model.training.on_nonfinite ignore", "training.on_nonfinite: expected one of 'stop', 'skip'; got 'ignore'"),
        ("--model.training.nonsense 1", "unrecognized arguments: --training.nonsense=1"),
        ("--model.training.schedule.shape up", "schedule.shape: expected one of 'cosine', 'linear', 'constant'"),
        ("--model.training.schedule.final_ratio 2", "schedule: warmup_epochs=2, final_ratio=2.0; need"),
        ("--model.training.schedule.warmup_epochs -1", "need warmup_epochs >= 0"),
        ("--model.training.schedule.epochs 0", "schedule: epochs=0, warmup_epochs=2; need warmup_epochs < epochs"),
        ("--model.training.schedule.warmup_share .5", "warmup_share=0.5 is for runs of training.steps"),
        ("--model.training.schedule null", "training.schedule: expected options; got 'null'"),
        ("--model.network null", "model.network is null; leave it out, or give a value"),
        ("--model.network.stem imagenet", "images are 8x8, but the imagenet stem"),
        ("--model.network.norms.append all", "norms.append: expected one of 'none', 'pools'"),
        ("--model.genotype nonsense", "nonsense: no such file, and no genotype of that name"),
        ("--model.genotype file", "file: not a printed Genotype"),
        ("--model.class_path Nonsense", "model: unknown class 'Nonsense'"),
        ("--model.class_path torch.nn.Linear", "model: import path torch.nn.Linear does not correspond to a subclass"),
        ("--data NpzImages --data.path nowhere.npz", "nowhere.npz: no such file; data.path must name an .npz archive"),
        ("--data NpzImages --data.path file", "file: not a readable .npz archive"),
        ("--data NpzImages --data.path other.npz", "other.npz"),
        ("--data ImageFolder --data.path nowhere --data.size 8", "nowhere: no such folder"),
        ("--data ImageFolder --data.path empty --data.size 8", "empty: class folders: none"),
        ("--data Cifar10 --data.root nowhere", "CIFAR10 in nowhere: files missing or damaged"),
        ("--data.num_workers -1", "data.num_workers is -1; it must be at least 0"),
        ("--data.num_workers 10000", "data.num_workers is 10000; each is a process: use at most 256"),
        ("--data.batch_size 10000000", "data.batch_size is 10000000 on 1 process(es), more than"),
        ("--data.batch_size null", "data.batch_size is None; use auto, or a whole number"),
        ("--data.test_fraction 2", "data.test_fraction is 2.0; a share of the images is at least 0 and below 1"),
        ("--data.val_fraction 0.9999", "leaves 0; both sides need at least one image of every class"),
        ("--data.arch_fraction 0.5", "one network trains on all training images: set data.arch_fraction to 0"),
        ("--data.seed -1", "data.seed is -1"),
        ("--data.mean [1,2] --data.std [1,2]", "data.mean"),
        ("--data.mean [0.5]", "data.mean and data.std belong together"),
        ("--data.mean [0.5] --data.std [0]", "data.std"),
        ("--data.mean [.nan] --data.std [1]", "data.mean"),
        ("--data.augmentation null", "data.augmentation is null; leave it out"),
        ("--data.augmentation.padding_mode up", "padding_mode: expected one of 'zeros', 'reflect'"),
        ("--data.nonsense 1", "data: option 'nonsense' is not accepted by sparsenas.data.Digits"),
        ("--compile true", "unrecognized arguments: --compile true"),
        ("--ckpt_path nowhere.ckpt", "--ckpt_path nowhere.ckpt: no such file"),
        ("--ckpt_path file", "--ckpt_path file: damaged, or not a checkpoint"),
        ("--config file", "Unexpected config: x"),
        ("--trust 1abc", "trust: '1abc' is no module"),
    ],
)
def test_one_message_before_training(refused, options, message):
    assert message in refused(TRAINING, options)
