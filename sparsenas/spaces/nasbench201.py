"""The NAS-Bench-201 space: cells of four nodes with one primitive on each of their six edges."""

import re
from collections import Counter
from functools import cached_property

from sparsenas.errors import GenotypeError
from sparsenas.spaces.base import SearchSpace
from sparsenas.spaces.genotype import Genotype
from sparsenas.spaces.printed import one_of, plain
from sparsenas.spaces.topology import Block, Candidate, complete_block

#: The five primitives in the order of the benchmark.
NASBENCH201_PRIMITIVES = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

_TERM = re.compile(r"(\w+)~(\d)")
#: The benchmark's string of a cell in other text, with blanks anywhere.
_PRINTED_NODE = r"\|(?:\s*\w+\s*~\s*\d\s*\|)+"
_PRINTED = re.compile(rf"{_PRINTED_NODE}(?:\s*\+\s*{_PRINTED_NODE})*")


class NasBench201Space(SearchSpace):
    """The 15,625 cells of NAS-Bench-201, which NATS-Bench calls its topology space.

    Node 0 is the input, and *every* edge keeps one of the primitives, so the cell is one block. ``none`` is a primitive
    like the others: an edge that gives zeros.

    Source: Dong and Yang, NAS-Bench-201 (ICLR 2020), section 2.1.
    """

    name = "nasbench201"
    cell_types = ("normal",)
    num_inputs = 1
    inputs_per_node = 6
    distinct_edges = True
    primitives = NASBENCH201_PRIMITIVES

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The block of the whole cell: 30 candidates, of which 6 on distinct edges are kept."""
        return (complete_block("normal", 4, self.primitives),)

    def from_string(self, text: str) -> Genotype:
        """Read the benchmark's string of a cell, e.g. ``|none~0|+|skip_connect~0|none~1|+|none~0|none~1|none~2|``.

        Raises:
            GenotypeError: If the text is not exactly such a string.
        """
        candidates = [
            Candidate(target, int(term[2]), term[1])
            for target, node in enumerate(text.split("+"), start=1)
            for term in map(_TERM.fullmatch, node[1:-1].split("|"))
            if term is not None and int(term[2]) < target
        ]
        known = all(candidate.primitive in self.primitives for candidate in candidates)
        if (
            not known
            or len({(c.target, c.source) for c in candidates}) != self.inputs_per_node
            or _written(candidates) != text
        ):
            shown = text if len(text) <= 200 else f"{text[:200]}..."
            raise GenotypeError(
                f"{shown!r} is no NAS-Bench-201 cell; expected |op~0|+|op~0|op~1|+|op~0|op~1|op~2|, each op one of "
                f"{', '.join(self.primitives)}"
            )
        return Genotype.build(self.name, {"normal": candidates})

    def find(self, text: str, where: str) -> Genotype | None:
        """Find the benchmark's string in a text, such as ``Structure(4 nodes with |nor_conv_3x3~0|+|...|)``.

        Returns:
            The cell; ``None`` if nothing in the text looks like one.

        Raises:
            GenotypeError: If what looks like one is none, or there are several that differ.
        """
        try:
            found = [self.from_string("".join(string.split())) for string in _PRINTED.findall(plain(text))]
        except GenotypeError as error:
            raise GenotypeError(f"{where}: {error}") from error
        return one_of(found, where) if found else None

    def to_string(self, genotype: Genotype) -> str:
        """Write the benchmark's string of a genotype, the inverse of :meth:`from_string`."""
        self.validate(genotype)
        return _written(genotype.cell("normal"))

    def isomorphism(self, genotype: Genotype) -> str:
        """Return a canonical form of a cell: the benchmark counts cells of equal form as one.

        A node is the sorted sum of its edges, and a skip stands for its source's sum. ``none``, like any primitive on a
        node that is nothing but zero, stands for ``#``. There are 6,466 classes, the published number. They are finer
        than necessary: a ``#`` stays in its sum, and the sum behind a skip is not merged with the one it enters.

        Source: ``to_unique_str`` of the benchmark's code.
        """
        self.validate(genotype)
        nodes = ["0"]
        for target in (1, 2, 3):
            terms = [_term(c.primitive, nodes[c.source]) for c in genotype.cell("normal") if c.target == target]
            nodes.append("+".join(sorted(terms)))
        return nodes[-1]

    def parameters(self, genotype: Genotype) -> int:
        """Count the parameters of the published CIFAR-10 network: 16 channels, 3 stages of 5 cells, 10 classes."""
        counts = self._counts(genotype)
        return 73_306 + 243_040 * counts["nor_conv_3x3"] + 28_000 * counts["nor_conv_1x1"]

    def flops(self, genotype: Genotype) -> int:
        """Count the FLOPs of the same network on one 32x32 image, as the field's tables do.

        These are MACs of convolutions and classifier, 2 per element of a batch-norm, and 1 per element into a ReLU. A
        pool counts its window per output element; the global pool of 8x8 pixels counts as one of 9x9.

        Differs: the files of the benchmark count less by about 1 % (220.1 M for the largest network, here 222.9 M).
        """
        counts = self._counts(genotype)
        return (
            7_943_872
            + 35_819_520 * counts["nor_conv_3x3"]
            + 4_362_240 * counts["nor_conv_1x1"]
            + 1_290_240 * counts["avg_pool_3x3"]
        )

    def _counts(self, genotype: Genotype) -> Counter[str]:
        """Count the edges that keep each primitive."""
        self.validate(genotype)
        return Counter(candidate.primitive for candidate in genotype.cell("normal"))


def _written(candidates: list[Candidate] | tuple[Candidate, ...]) -> str:
    """Write the string of a cell's candidates, nodes and sources ascending."""
    nodes = (sorted(c for c in candidates if c.target == target) for target in (1, 2, 3))
    return "+".join("|" + "".join(f"{c.primitive}~{c.source}|" for c in node) for node in nodes)


def _term(primitive: str, source: str) -> str:
    """Return the term of an edge in its node, given the form of its source."""
    if primitive == "none" or source == "#":
        return "#"
    return source if primitive == "skip_connect" else f"({source})@{primitive}"
