"""Tables of studies/tournament."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import rankdata, spearmanr, ttest_1samp

from studies.common import Row, read_runs
from studies.text import Floats, groups, markdown, mean, number, probability, spread, values

#: The reference that was fixed beforehand: the best on average of the short trainings' validations.
FIXED = "vgg_like"
#: Deviations that a factor e of MACs is worth.
WORTH = 1.6
#: References among the arms.
REFERENCES = ("vgg_like", "plain_cnn", "resnet8_max_pool", "ds_cnn")


def competitors(rows: Sequence[Row]) -> str:
    """Test accuracy of each arm on each data set, and its difference from the fixed reference with equal seeds."""
    sets, lines = list(groups(rows, "data")), []
    for arm, of in groups(rows, "arm").items():
        by_set = groups(of, "data")
        cells = [spread(values(by_set.get(data, []), "accuracy")) for data in sets]
        means = [float(values(by_set[data], "accuracy").mean()) for data in sets if data in by_set]
        ahead = differences(rows, arm)
        against = ["", ""] if arm == FIXED or not len(ahead) else [f"{ahead.mean():+.2f}", tested(ahead)]
        whole = number(float(np.mean(means))) if len(means) == len(sets) else ""
        share = f"{100 * float((values(of, 'deciding') / values(of, 'seconds')).mean()):.0f} %"
        lines.append([arm, str(len(of)), *cells, whole, *against, share])
    heads = ["arm", "runs", *sets, "mean", f"minus {FIXED}", "p", "time until decided"]
    return markdown(heads, lines)


def differences(rows: Sequence[Row], arm: str) -> Floats:
    """Accuracy of an arm minus that of the fixed reference, for each data set and seed that both have."""
    known = {(row["data"], row["seed"]): float(row["accuracy"]) for row in rows if row["arm"] == FIXED}
    own = {(row["data"], row["seed"]): float(row["accuracy"]) for row in rows if row["arm"] == arm}
    return np.array([value - known[key] for key, value in own.items() if key in known])


def tested(numbers: Floats) -> str:
    """Two-sided p-value of a t-test against 0."""
    return probability(float(ttest_1samp(numbers, 0.0).pvalue)) if len(numbers) > 1 and np.ptp(numbers) else ""


def hindsight(rows: Sequence[Row]) -> str:
    """What was found beside the best of all references of each data set, which nobody knows beforehand."""
    lines = []
    for data, of in groups(rows, "data").items():
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
    rows = read_runs(Path(__file__).parent / "short_trainings.csv.gz")
    lines = []
    for share in [name.split()[1] for name in rows[0] if name.startswith("loss ")][:-1]:
        alone, corrected = [], []
        for of in groups(rows, "data").values():
            end, loss = -values(of, "loss 1.000"), rankdata(-values(of, f"loss {share}"))
            macs = np.log(values(of, "macs"))
            alone.append(float(spearmanr(loss, end).statistic))
            scores = (loss - loss.mean()) / loss.std() + WORTH * (macs - macs.mean())
            corrected.append(float(spearmanr(scores, end).statistic))
        lines.append([f"{float(share):.3f}", mean(np.array(alone), 2), mean(np.array(corrected), 2)])
    return markdown(["share of the seconds", "loss", f"loss, and {WORTH} log MACs"], lines)
