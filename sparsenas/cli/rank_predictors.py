"""The command ``rank-predictors``."""

from collections.abc import Sequence

from sparsenas.cli.parser import Parser
from sparsenas.cli.sessions import add_executor_options, add_options, executor_of, hold
from sparsenas.comparison import read_settings
from sparsenas.comparison.predictors import PredictorSession, read_predictor_plan


def rank_predictors(args: Sequence[str]) -> int:
    """Judge predictors of accuracy by networks whose accuracies are known, and report which suits which budget.

    Args:
        args: Arguments after the command.

    Returns:
        Exit code: 0, 1 if a run failed, 130 after Ctrl-C.

    Raises:
        SparseNASError: If the user is to change something.
    """
    parser = Parser(
        prog="python -m sparsenas rank-predictors",
        description="Judge predictors of accuracy by a published table or by whole learning curves (--config "
        "predictors_nasbench201): how well they order networks after how many trainings, and what that takes. Each "
        "predictor with a seed is a process of one thread. Finished ones are kept: the same command makes those that "
        "are missing.",
        allow_abbrev=False,
    )
    add_options(parser, "lightning_logs/CONFIG")
    add_executor_options(parser)
    options = parser.parse_args(args)
    return hold(
        "rank-predictors",
        args,
        options,
        lambda config, out: (
            PredictorSession(read_predictor_plan(config), out),
            executor_of(options, read_settings(config)),
        ),
    )
