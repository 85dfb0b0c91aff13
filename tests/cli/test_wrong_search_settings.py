"""Settings of searches that cannot work, or would do nothing; ``refused`` says what all share."""

import pytest

#: What makes a search of CIFAR-10 one of the digits.
DIGITS = (
    "--data Digits --data.batch_size 64 --trainer.max_epochs 2 --model.network.channels 4 --model.network.cells 3 "
    "--model.network.stem small --data.arch_fraction"
)
SEARCH = (
    "fit --config search_two_stage_digits --model.network.channels 4 --trainer.max_epochs 2 "
    "--model.architecture.warmup_epochs 0"
)
ONE_STAGE = f"fit --config search_one_stage_cifar10_16px {DIGITS} 0.0"
GDAS = f"fit --config search_gdas {DIGITS} 0.4"
PC_DARTS = f"fit --config search_pc_darts {DIGITS} 0.4"
RANDOM = f"fit --config search_random_weight_sharing {DIGITS} 0.4"
TOURNAMENT = "fit --model.training.seconds 4"
LATENCY = "--model.budget.max_latency_ms 5"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (SEARCH, "--model.architecture.optimizer.init_args.lr -1", "architecture.optimizer: Invalid learning rate"),
        (SEARCH, "--model.architecture.warmup_epochs -1", "architecture.warmup_epochs is -1"),
        (SEARCH, "--data.arch_fraction 1.5", "arch_fraction"),
        (SEARCH, "--model.architecture.warmup_epochs 100", "no epoch is left for the search"),
        (SEARCH, "--model.architecture.optimizer LBFGS", "architecture.optimizer: it needs a closure"),
        (SEARCH, "--model.training.optimizer LBFGS", "training.optimizer: it needs a closure"),
        (SEARCH, "--model.training.drop_path 0.5", "training.drop_path is 0.5, which TwoStageSearch does not use"),
        (SEARCH, "--model.training.steps 5", "the schedules of TwoStageSearch go over the epochs of the run"),
        (SEARCH, "--model.space null", "model.space is null; leave it out"),
        (SEARCH, "--model.space.nodes 0", "space.nodes is 0; a cell needs at least 1"),
        (SEARCH, "--model.space.nodes 100", "space.nodes is 100; use at most 32"),
        (SEARCH, "--model.space.primitives []", "space.primitives is []; name at least one"),
        (SEARCH, "--model.space.primitives [nonsense]", "unknown primitive 'nonsense'"),
        (SEARCH, "--model.budget.max_params -1", "budget.max_params is -1.0; use a positive number"),
        (SEARCH, "--model.budget.max_params 10", "budget.max_params is 10, but the smallest value that can be reached"),
        (
            SEARCH,
            "--model.budget.max_macs 10",
            "; lower network.channels or network.cells, or set network.stem",
        ),
        (SEARCH, "--model.budget.max_macs .nan", "budget.max_macs is nan"),
        (SEARCH, LATENCY, "a limit needs a table"),
        (SEARCH, f"{LATENCY} --model.budget.latency_table file", "file: no readable latency table"),
        (SEARCH, "--model.budget.forbidden [nonsense]", "budget.forbidden names the primitive 'nonsense'"),
        (SEARCH, "--model.budget.max_per_cell '{up: {skip_connect: 1}}'", "names the cell type 'up'"),
        (SEARCH, "--model.recovery.every_n_steps 0", "recovery.every_n_steps is 0; use at least 1"),
        (SEARCH, "--model.recovery.compressed_size 1", "recovery.compressed_size is 1; codes with 2 non-zeros"),
        (SEARCH, "--model.recovery.compressed_size 100000", "recovery.compressed_size is 100000; use at most 1024"),
        (SEARCH, "--model.recovery.initial_std -1", "recovery.initial_std is -1.0; use a positive number"),
        (SEARCH, "--model.recovery.dictionary up", "recovery.dictionary: expected one of 'uniform', 'gaussian'"),
        (SEARCH, "--model.recovery.solver Nonsense", "recovery.solver: unknown class 'Nonsense'"),
        (SEARCH, "--model.recovery.reject_params 5", "recovery.reject_params belongs to one-stage search"),
        (SEARCH, "--data.arch_fraction 0", "the searcher needs two streams of training images"),
        (
            SEARCH,
            "--trainer.gradient_clip_val 1",
            "which TwoStageSearch does not use; set model.training.gradient_clip",
        ),
        (SEARCH, "--trainer.accumulate_grad_batches 2", "which TwoStageSearch does not use; leave it out"),
        (SEARCH, "--trainer.precision 64-true", "trainer.precision is 64-true; searches support"),
        (ONE_STAGE, "--model.settling null", "model.settling is null; leave it out"),
        (ONE_STAGE, "--model.settling.patience 0", "settling: patience=0"),
        (ONE_STAGE, "--model.exploration.sampling RecoveredSampling", "RecoveredSampling draws none"),
        (
            ONE_STAGE,
            "--model.exploration.sampling MixtureSampling --model.exploration.sampling.uniform_start 2",
            "sampling.uniform_start is 2.0; a probability lies in [0, 1]",
        ),
        (ONE_STAGE, "--model.phases.search_epochs 0", "phases: search_epochs=0"),
        (ONE_STAGE, "--model.phases.search_epochs 2", "search_epochs 2 and train_epochs of at least 1 need 3"),
        (GDAS, "--model.relaxation.tau_start 0", "relaxation.tau_start is 0.0, tau_end 0.1; temperatures are positive"),
        (GDAS, "--model.architecture.optimizer.init_args.betas [1,1]", "Invalid beta parameter at index 0: 1.0"),
        (PC_DARTS, "--model.network.channels 3", "partial_channels is 4, channels 3: use a divisor"),
        (RANDOM, "--model.selection.count 0", "selection.count is 0; measure at least 1 architecture"),
        (RANDOM, "--model.measure_batches 0", "measure_batches is 0; use at least 1"),
        (TOURNAMENT, "--model.tournament.rungs [0.5,0.1]", "tournament.rungs is [0.5, 0.1]; give growing shares"),
        (TOURNAMENT, "--model.tournament.keep 2", "keep lies in (0, 1)"),
        (TOURNAMENT, "--model.tournament.random -1", "counts are at least 0"),
        (TOURNAMENT, "--model.tournament.horizon []", "give a number for each rung"),
        (TOURNAMENT, "--model.tournament.references [nonsense]", "tournament.references names 'nonsense'; use all"),
        (
            TOURNAMENT,
            "--model.tournament.references none --model.tournament.random 0",
            "tournament: random is 0 and references are none, so nothing would compete",
        ),
        (TOURNAMENT, "--model.tournament.prior file", "tournament.prior: file: no prior"),
        (TOURNAMENT, "--model.tournament.images 0", "tournament: images=0"),
    ],
)
def test_one_message_before_training(refused, command, options, message):
    assert message in refused(command, options)
