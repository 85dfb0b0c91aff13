"""Do mirrored images still look like their class?"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

#: Penalty of the linear classifier per image, on pixels of deviation 1; of 0.01, 0.1, 0.3 and 1 the best compromise
#: between 100 images and 2,000.
PENALTY = 0.3
#: Mirrored images look different if more of them are lost than chance loses in one of a hundred sets, and at least a
#: quarter of those recognised: real photos are never perfectly symmetric.
SIGNIFICANCE, LEAST_LOSS = 0.01, 0.25


class MirrorTest(NamedTuple):
    """Answers of a linear classifier to images and to their mirror images.

    Attributes:
        passed: True if mirrored images look like their class.
        label: The class of which they do not; ``None`` for all together, or if they pass.
        images: Number of images, of the class if there is one.
        recognised: How many are recognised as they are.
        mirrored: How many are recognised mirrored.
    """

    passed: bool
    label: int | None
    images: int
    recognised: int
    mirrored: int


def mirror_test(thumbnails: Tensor, labels: NDArray[np.int64]) -> MirrorTest:
    """Test whether mirrored images still look like their class.

    A ridge classifier learns the first half of the images of each class. The other half it sees as they are, and
    mirrored. If mirroring changes nothing, an image that is recognised in one of these two ways only is so in either
    with probability 1/2. So the number lost is binomial (McNemar's test, exact and one-sided). It is counted over all
    images, and over each class with its share of the level: two classes of many may be mirror images of each other.

    Args:
        thumbnails: Small images, ``(N, C, h, w)``; neighbours that are nearly alike lie beside each other.
        labels: Their classes, ``(N,)``.

    Source: McNemar, Note on the sampling error of the difference between correlated proportions or percentages (1947).
    """
    classes = np.unique(labels)
    first = np.zeros(len(labels), dtype=bool)
    for label in classes:
        members = np.flatnonzero(labels == label)
        first[members[: -(-len(members) // 2)]] = True
    other, images = labels[~first], thumbnails.numpy().astype(np.float64)
    if len(classes) < 2 or not len(other):
        return MirrorTest(True, None, len(other), 0, 0)
    ridge = RidgeClassifier(alpha=PENALTY * int(first.sum()), class_weight="balanced")
    classifier = make_pipeline(StandardScaler(), ridge).fit(images[first].reshape(int(first.sum()), -1), labels[first])
    tested = images[~first]
    right, mirrored = (classifier.predict(x.reshape(len(x), -1)) == other for x in (tested, tested[..., ::-1]))
    groups: list[tuple[int | None, float]] = [(None, SIGNIFICANCE)]
    groups += [(int(label), SIGNIFICANCE / len(classes)) for label in np.unique(other)]
    for label, level in groups:
        own = np.ones(len(other), dtype=bool) if label is None else other == label
        lost, won = int((right & ~mirrored & own).sum()), int((mirrored & ~right & own).sum())
        seen = int((right & own).sum())
        if binom.sf(lost - 1, lost + won, 0.5) < level and lost - won >= LEAST_LOSS * seen:
            return MirrorTest(False, label, int(own.sum()), seen, seen - lost + won)
    return MirrorTest(True, None, len(other), int(right.sum()), int(mirrored.sum()))
