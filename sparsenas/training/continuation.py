"""A resumed training that is longer, or shorter, than it was planned: where its learning rate goes on."""

import pytorch_lightning as pl
from torch.optim.lr_scheduler import LambdaLR

from sparsenas.training.weights import WeightTraining


def planned_length(trainer: pl.Trainer, training: WeightTraining) -> float:
    """Return the length of a training in its unit; below 0 if it has none."""
    length = (trainer.max_epochs or -1) if training.by_epochs else training.seconds or training.steps
    return float(length or -1)


def rejoin_schedule(trainer: pl.Trainer, training: WeightTraining, before: float | None) -> str:
    """Put the learning rates of a resumed training where a training of its present length has them.

    The checkpoint has those of the planned length: at the end of a cosine 0, at which nothing would be learned.

    Args:
        trainer: The trainer, with the state of the checkpoint.
        training: Options of the training.
        before: Length that was planned when the checkpoint was written; ``None`` if it is unknown.

    Returns:
        A line that says so; empty if nothing has changed.
    """
    now, shares = planned_length(trainer, training), list[float]()
    if before is None or abs(now - before) <= 1e-6 * abs(before) or not training.schedule.decays:
        return ""
    for scheduler in (config.scheduler for config in trainer.lr_scheduler_configs):
        if not isinstance(scheduler, LambdaLR):
            continue
        for group, peak, factor in zip(
            scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
        ):
            shares.append(factor(scheduler.last_epoch))
            group["lr"] = peak * shares[-1]
    share = next(iter(shares), 1.0)  # of the weights; a search has a schedule of its own beside them
    unit = "epochs" if training.by_epochs else "seconds" if training.seconds is not None else "steps"
    return (
        f"{before:.0f} {unit} were planned, and {now:.0f} are now: the learning rate goes on at {share:.0%} of its "
        "peak, as in a training of that length, and ends with it"
    )
