"""The short help of the commands that have hundreds of options: what most people need, and where the rest is."""

from collections.abc import Sequence

#: Options by topic: an example, and what it does. A test gives all of them to a command.
OF_RUNS = (
    ("--config photos", "settings: a file or the name of a shipped config; of several, later ones win"),
    ("--name kitchen", "name of the run's folder, in place of version_N; nothing is overwritten"),
    ("--seed_everything 1", "seed of everything random"),
    ("--save_every_minutes 5", "a checkpoint also within epochs, from which the run can go on"),
)
OF_IMAGES = (
    ("--data.path photos", "a folder with a folder of images per class"),
    ("--data.size 64", "side of the images in pixels, as the network sees them"),
    ("--data.batch_size 32", "images per step"),
    ("--data.val_fraction 0.1", "share of the training images that decides; --data.test_fraction for the test"),
    ("--data.augmentation none", "do not change training images at random"),
    ("--data.num_workers 2", "processes that read images"),
)
OF_NETWORKS = (
    ("--max_params 50000", "most parameters"),
    ("--max_macs 5e6", "most multiply-accumulates of an image"),
    ("--model.network.channels null", "width of the first layer; null fills the budget"),
)
OF_TRAININGS = (
    ("--minutes 5", "time for everything, search and test included"),
    ("--model.training.label_smoothing 0.1", "share of the labels that is spread over all classes"),
    ("--model.training.optimizer.init_args.lr 0.01", "highest learning rate"),
    ("--trainer.max_epochs 30", "length in epochs, of configs that count them"),
    ("--trainer.accelerator cpu", "cpu, gpu or auto; --trainer.devices says how many"),
)
#: What each command is for, how it is called, and its topics.
_EXAMPLES = {
    "fit": (
        ("fit", "search and train on handwritten digits, in less than a minute"),
        ("fit --config photos --data.path photos", "search a network for your photos, and train it"),
        ("fit --config train_images --data.path photos", "train a network made by hand"),
        ("fit --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt", "go on with a run, in its folder"),
    ),
    **{
        command: ((f"{command} --config RUN/config.yaml --ckpt_path RUN/checkpoints/last.ckpt", text),)
        for command, text in (
            ("validate", "loss and accuracy on the validation images"),
            ("test", "loss and accuracy on the test images"),
            ("predict", "classes of the test images, in RUN/predictions.csv"),
        )
    },
}
_MORE = (
    ("--help all", "every option, also the hundred of the trainer"),
    ("--model.help TournamentSearch", "options of a model, and --data.help ImageFolder those of images"),
    ("--plan", "say what a fit would take, and run nothing"),
    ("--print_config", "print all settings, and run nothing"),
    ("--ckpt_path FILE", "checkpoint of a run: evaluate it, or go on with it"),
    ("--trust MODULE", "module that genotypes, checkpoints and exports may import; it runs with your rights"),
)


def asks_for_help(args: Sequence[str]) -> bool:
    """Say if arguments ask for the short help; ``--help all`` asks for the long one."""
    return any(arg in ("-h", "--help") and (*args, "")[place + 1] != "all" for place, arg in enumerate(args))


def short_help(command: str, title: str) -> str:
    """Write the short help of a command of the trainer.

    Args:
        command: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        title: One line that says what it does.
    """
    program = "python -m sparsenas"
    topics = [("runs", OF_RUNS), ("images", OF_IMAGES), ("the network", OF_NETWORKS), ("the training", OF_TRAININGS)]
    lines = [f"usage: {program} {command} [options]", "", f"{title[:1].upper()}{title[1:]}.", "", "examples:"]
    for call, text in _EXAMPLES[command]:
        lines += [f"  {program} {call}", f"      {text}"]
    for name, options in topics if command == "fit" else topics[1:2]:
        lines += ["", f"options of {name}:", *_rows(options)]
    lines += ["", "more:", *_rows(_MORE), "", "Configs, and what each costs: configs/README.md."]
    return "\n".join(lines)


def _rows(options: Sequence[tuple[str, str]]) -> list[str]:
    return [f"  {example:<46}{text}" for example, text in options]
