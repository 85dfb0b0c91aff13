"""Where benchmarks are published, what to download there, and how a table is made of it."""

from typing import NamedTuple

#: What turns a downloaded release into a table.
CONVERT = "convert it by `python -m sparsenas tables {}`"


class Release(NamedTuple):
    """A published release, and the table that is read here.

    Attributes:
        benchmark: Name of the benchmark.
        table: Name of the file or folder that is read.
        reader: What reads it.
        published: Repository of the authors.
        download: File or folder as the authors name it.
        step: What to do with it, as half a sentence.
    """

    benchmark: str
    table: str
    reader: str
    published: str
    download: str
    step: str

    @property
    def advice(self) -> str:
        """Advice where to get the release, and what to do with it."""
        return f"{self.benchmark} is published at {self.published}: download {self.download} and {self.step}"


NASBENCH201 = Release(
    "NAS-Bench-201",
    "nasbench201.csv.gz",
    "NasBench201Table",
    "https://github.com/D-X-Y/NATS-Bench",
    "NATS-tss-v1_0-3ffb9-simple.tar",
    "unpack it, then " + CONVERT.format("NATS-tss-v1_0-3ffb9-simple"),
)
LATENCIES = Release(
    "HELP (latencies of NAS-Bench-201)",
    "nasbench201_latency_ms.csv.gz",
    "NasBench201Table",
    "https://github.com/HayeonLee/HELP",
    "the folder data/nasbench201/latency",
    CONVERT.format("HELP/data/nasbench201/latency"),
)
NASBENCH_MACRO = Release(
    "NAS-Bench-Macro",
    "nasbench_macro.csv.gz",
    "NasBenchMacroTable",
    "https://github.com/xiusu/NAS-Bench-Macro",
    "data/nas-bench-macro_cifar10.json",
    CONVERT.format("nas-bench-macro_cifar10.json"),
)
WEIGHT_SHARING64 = Release(
    "The weight-sharing study of 64 cells",
    "weight_sharing_64.csv.gz",
    "WeightSharing64Table",
    "https://github.com/ultmaster/deeper-insights-weight-sharing",
    "the repository",
    CONVERT.format("deeper-insights-weight-sharing"),
)
NATS_BENCH = Release(
    "NATS-Bench",
    "NATS-tss-v1_0-3ffb9-simple",
    "NatsBenchTable",
    NASBENCH201.published,
    NASBENCH201.download,
    "unpack it",
)
NASBENCH101 = Release(
    "NAS-Bench-101",
    "nasbench101.csv.gz",
    "NasBench101Table",
    "https://github.com/google-research/nasbench",
    "nasbench_only108.tfrecord or nasbench_full.tfrecord",
    CONVERT.format("nasbench_only108.tfrecord"),
)
#: Not converted: its files are of many forms.
ZERO_COST = Release(
    "NAS-Bench-Suite-Zero",
    "zero_cost_proxies.csv.gz",
    "read_published_scores",
    "https://github.com/automl/NASLib",
    "zc_nasbench201.json",
    "write it as a table whose columns docs/tables.md names",
)
#: All that can be converted, or read as it is.
RELEASES = (NASBENCH201, LATENCIES, NASBENCH_MACRO, WEIGHT_SHARING64, NATS_BENCH, NASBENCH101)
