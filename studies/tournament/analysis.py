"""Tables of studies/tournament."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import rankdata, spearmanr, ttest_1samp

from studies.common import Row, read_runs
from studies.text import Floats, groups, markdown, mean, number, probability, spread, values
from studies.tournament.replay import choices

#: The reference that was fixed beforehand: the best on average of the short trainings' validations.
FIXED = "vgg_like"
#: Deviations that a factor e of MACs is worth.
WORTH = 2.3
#: References among the arms.
REFERENCES = ("vgg_like", "plain_cnn", "resnet8_max_pool", "ds_cnn")
#: Seconds of the short trainings, of those with a predictor, of the long ones, and of the longest.
SHORT, PREDICTED, LONG, LONGEST = 45.0, 60.0, 180.0, 900.0
#: End of the names of arms that were judged on an earlier day, with an earlier tournament.
EARLIER = ", first prior"


def competitors(rows: Sequence[Row]) -> str:
    """Test accuracy of each arm on each data set, and its difference from the fixed reference with equal seeds."""
    return _compared([row for row in rows if float(row["seconds"]) == LONG])


def longest(rows: Sequence[Row]) -> str:
    """The same for five times the seconds."""
    return _compared([row for row in rows if float(row["seconds"]) == LONGEST])


def predicted(rows: Sequence[Row]) -> str:
    """The same for a third of the seconds, with arms that a predictor of accuracy guides."""
    return _compared([row for row in rows if float(row["seconds"]) == PREDICTED])


def _compared(rows: Sequence[Row]) -> str:
    sets, lines = list(groups(rows, "data")), []
    for arm, of in groups(rows, "arm").items():
        by_set = groups(of, "data")
        cells = [spread(values(by_set.get(data, []), "accuracy")) for data in sets]
        means = [float(values(by_set[data], "accuracy").mean()) for data in sets if data in by_set]
        ahead = differences(rows, arm)
        against = ["", ""] if arm.startswith(FIXED) or not len(ahead) else [f"{ahead.mean():+.2f}", tested(ahead)]
        whole = number(float(np.mean(means))) if len(means) == len(sets) else ""
        share = f"{100 * float((values(of, 'deciding') / values(of, 'seconds')).mean()):.0f} %"
        lines.append([arm, str(len(of)), *cells, whole, *against, share])
    heads = ["arm", "runs", *sets, "mean", f"minus {FIXED}", "p", "time until decided"]
    return markdown(heads, lines)


def differences(rows: Sequence[Row], arm: str) -> Floats:
    """Accuracy of an arm minus that of the fixed reference of the same day, for each data set and seed of both."""
    fixed = FIXED + EARLIER if EARLIER in arm else FIXED
    known = {(row["data"], row["seed"]): float(row["accuracy"]) for row in rows if row["arm"] == fixed}
    own = {(row["data"], row["seed"]): float(row["accuracy"]) for row in rows if row["arm"] == arm}
    return np.array([value - known[key] for key, value in own.items() if key in known])


def tested(numbers: Floats) -> str:
    """Two-sided p-value of a t-test against 0."""
    return probability(float(ttest_1samp(numbers, 0.0).pvalue)) if len(numbers) > 1 and np.ptp(numbers) else ""


def hindsight(rows: Sequence[Row]) -> str:
    """What was found beside the best of all references of each data set, which nobody knows beforehand."""
    lines = []
    for data, of in groups([row for row in rows if float(row["seconds"]) == LONG], "data").items():
        found = values([row for row in of if row["arm"] == "found"], "accuracy")
        by_name = {
            arm: float(values(part, "accuracy").mean()) for arm, part in groups(of, "arm").items() if arm in REFERENCES
        }
        best = max(by_name, key=lambda name: by_name[name])
        remarks = [row["remark"].split(",")[0] for row in of if row["arm"] == "found"]
        lines.append(
            [
                data,
                mean(found),
                f"{best} {by_name[best]:.1f}",
                f"{found.mean() - by_name[best]:+.2f}",
                "; ".join(remarks),
            ]
        )
    return markdown(["data", "found", "best reference", "difference", "what was found"], lines)


def early(_: Sequence[Row]) -> str:
    """Spearman's correlation of what is known early with the validation loss at the end, mean over data sets."""
    columns: list[dict[str, str]] = []
    for length in (SHORT, LONG):
        rows = [row for row in short_trainings() if float(row["seconds"]) == length]
        shares = [name.split()[1] for name in rows[0] if name.startswith("loss ") and rows[0][name]][:-1]
        for worth in (0.0, WORTH):
            columns.append({share: mean(_correlations(rows, share, worth), 2) for share in shares})
    shares = sorted({share for column in columns for share in column})
    heads = [f"{length:g} s: {what}" for length in (SHORT, LONG) for what in ("loss", f"loss, and {WORTH} log MACs")]
    return markdown(
        ["share of the seconds", *heads], [[share, *(column.get(share, "") for column in columns)] for share in shares]
    )


def _correlations(rows: Sequence[Row], share: str, worth: float) -> Floats:
    """Correlation on each data set of loss and log MACs after a share of the seconds with the loss at the end."""
    found = []
    for of in groups(rows, "data").values():
        end, loss, macs = -values(of, "loss 1.000"), rankdata(-values(of, f"loss {share}")), np.log(values(of, "macs"))
        found.append(spearmanr((loss - loss.mean()) / loss.std() + worth * (macs - macs.mean()), end).statistic)
    return np.array(found)


def lengths(_: Sequence[Row]) -> str:
    """Networks that were trained for both lengths: losses beside those of the fixed reference, and test accuracy."""
    rows = short_trainings()
    by_length = {length: [row for row in rows if float(row["seconds"]) == length] for length in (SHORT, LONG)}
    sets, lines = list(groups(rows, "data")), []
    for network, of in groups(by_length[LONG], "arm").items():
        trained = {row["data"] for row in by_length[SHORT] if row["arm"] == network}
        both = [data for data in sets if data in trained] or sets
        beside = [beyond(part, network, both) for part in by_length.values()]
        tests = {row["data"]: 100 * float(row["test accuracy"]) for row in of}
        cells = [number(tests[data]) if data in tests else "" for data in sets]
        whole = number(float(np.mean(list(tests.values())))) if len(tests) == len(sets) else ""
        lines.append([network, *beside, str(len(both)), *cells, whole])
    heads = [f"log loss beyond {FIXED}, {length:g} s" for length in by_length]
    return markdown(["network", *heads, "on data sets", *(f"{data}, {LONG:g} s" for data in sets), "mean"], lines)


def beyond(rows: Sequence[Row], network: str, sets: Sequence[str]) -> str:
    """Mean over data sets of the log of a network's validation loss at the end, minus that of the fixed reference."""
    known = {(row["data"], row["arm"]): np.log(float(row["loss 1.000"])) for row in rows}
    found = [known[data, network] - known[data, FIXED] for data in sets if (data, network) in known]
    return f"{np.mean(found):+.3f}" if len(found) == len(sets) else ""


def priors(_: Sequence[Row]) -> str:
    """Validation accuracy at the end of what is chosen early with a right, no, and a reversed prior."""
    rows = [row for row in short_trainings() if float(row["seconds"]) == SHORT]
    fixed = {row["data"]: 100 * float(row["accuracy 1.000"]) for row in rows if row["arm"] == FIXED}
    table: dict[str, dict[str, float]] = {}
    for name, data, accuracy in choices(rows):
        table.setdefault(name, {})[data] = accuracy
    table[f"{FIXED}, without a choice"] = fixed
    lines = [
        [name, *map(number, by_set.values()), number(float(np.mean([*by_set.values()])), 2)]
        for name, by_set in table.items()
    ]
    return markdown(["prior", *fixed, "mean"], lines)


def short_trainings() -> list[Row]:
    """All rows of the short trainings, and of those that lasted longer."""
    return read_runs(Path(__file__).parent / "short_trainings.csv.gz")
