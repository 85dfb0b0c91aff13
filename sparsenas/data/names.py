"""Numbers drawn from the names of images: what a name decides, no other image can change."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
#: Hashes, shape ``(N,)``.
Hashes = NDArray[np.uint64]

#: The last number in a name; longer ones, such as times, are cut so that arithmetic stays exact.
_NUMBER = re.compile(r"(\d{1,12})\D*$")


def hashes(texts: Iterable[str]) -> Hashes:
    """Return a 64-bit hash of each text, the same on every machine."""
    digests = (blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def mixed(values: Hashes, word: str) -> Hashes:
    """Return new hashes, independent for each ``word``.

    Source: Steele et al., Fast Splittable Pseudorandom Number Generators (2014), as ``splitmix64``.
    """
    z = (values ^ hashes([word])) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def mixed_order(names: Sequence[str]) -> Indices:
    """Return an order that mixes images and depends on their names only."""
    return np.argsort(mixed(hashes(names), "evaluation"), kind="stable")


@dataclass(frozen=True)
class Places:
    """Places of images in numbered sequences; shape ``(N,)`` each.

    Attributes:
        sequences: Hash of what the names of a sequence have in common.
        numbers: Number in the sequence; -1 for a name without one.
    """

    sequences: Hashes
    numbers: Indices

    @classmethod
    def of(cls, names: Sequence[str]) -> "Places":
        """Read them from names such as ``cat/IMG_0017.jpg``: number 17 of ``cat/IMG_``."""
        stems, numbers = [], []
        for name in names:
            folder, _, file = name.rpartition("/")
            stem = file[: file.rfind(".")] if "." in file else file
            found = _NUMBER.search(stem)
            stem = stem if found is None else f"{stem[: found.start()]}#{stem[found.end(1) :]}"
            stems.append(f"{folder}/{stem}")
            numbers.append(-1 if found is None else int(found[1]))
        return cls(hashes(stems), np.array(numbers, dtype=np.int64))

    def __getitem__(self, mask: NDArray[np.bool_]) -> "Places":
        """Return the places of some images."""
        return Places(self.sequences[mask], self.numbers[mask])

    def take(self, fraction: float, word: str) -> tuple[NDArray[np.bool_], "Places"]:
        """Take a share, image by image: one of each stretch of a sequence, others by chance.

        A share of 0.2 takes one of the numbers 0 to 4, one of 5 to 9, and so on. Whether other images exist is not
        asked.

        Args:
            fraction: Share to take, in (0, 1).
            word: Tells draws apart.

        Returns:
            Which are taken, shape ``(N,)``; and the places of all in the sequences that remain without these.
        """
        rare = fraction <= 0.5
        share = Fraction(fraction if rare else 1 - fraction).limit_denominator(10**6)
        up, down = share.numerator, share.denominator
        if up == 0:
            return np.full(len(self.numbers), not rare), self
        stretch = self.numbers * up // down
        start = -(-stretch * down // up)
        length = -(-(stretch + 1) * down // up) - start
        drawn = mixed(mixed(self.sequences, word) ^ stretch.astype(np.uint64), "stretch")
        chosen = start + (drawn % length.astype(np.uint64)).astype(np.int64)
        by_chance = mixed(self.sequences, word) < np.uint64(round(float(share) * 2**53)) << np.uint64(11)
        picked = np.where(self.numbers < 0, by_chance, self.numbers == chosen)
        left = self.numbers - stretch - (chosen < self.numbers) if rare else stretch
        return picked == rare, Places(self.sequences, np.where(self.numbers < 0, -1, left))
