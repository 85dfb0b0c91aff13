"""NATS-Bench through a stand-in for its package: what is asked, in which units, and what goes wrong."""

import sys

import pytest

from sparsenas.errors import TableError
from sparsenas.tables import Cost, NatsBenchTable


def test_units_and_splits(nats):
    genotype = nats.space.from_string(nats.texts[1000])
    assert nats.accuracy(genotype, "cifar10", "test", 200) == pytest.approx(43)
    assert nats.accuracy(genotype, "cifar10", "test", 12) == pytest.approx(41.12)
    assert nats.accuracy(genotype, "cifar10-valid", "valid", 200) == pytest.approx(42)
    assert nats.cost(genotype) == Cost(73_306, 220_100_000)
    assert nats.latency(genotype, "1080ti_256") == pytest.approx(13.9)
    with pytest.raises(TableError, match=r"no accuracy cifar10/valid/200 .*cifar10/test/12, cifar10/test/200"):
        nats.accuracy(genotype, "cifar10", "valid", 200)


def test_a_folder_is_read_network_by_network_and_a_file_at_once(fake_nats):
    module, folder = fake_nats
    file = folder.parent / "NATS-tss-v1_0-3ffb9.pickle.pbz2"
    file.touch()
    NatsBenchTable(folder)
    NatsBenchTable(str(file))
    assert module.calls == [(str(folder), "tss", True, False), (str(file), "tss", False, False)]


def test_the_folder_is_found_among_the_data(fake_nats, monkeypatch):
    module, folder = fake_nats
    monkeypatch.setenv("SPARSENAS_DATA", str(folder.parent))
    assert len(NatsBenchTable()) == 15_625
    assert module.calls[0][0] == str(folder)


def test_what_is_missing_is_an_error(fake_nats):
    module, folder = fake_nats
    module.missing = {7}
    table = NatsBenchTable(folder)
    genotype = table.space.from_string(table.texts[7])
    with pytest.raises(TableError, match=r"network 7 cannot be read for cifar100 \(AssertionError"):
        table.accuracy(genotype, "cifar100", "test", 200)
    with pytest.raises(TableError, match="network 7 has no latency; it has flops, params"):
        table.latency(genotype, "1080ti_256")


def test_other_files_are_errors(fake_nats, monkeypatch):
    module, folder = fake_nats
    with pytest.raises(TableError, match=r"elsewhere is not there\. NATS-Bench is published at"):
        NatsBenchTable(folder / "elsewhere")
    module.texts = module.texts[:100]
    with pytest.raises(TableError, match="100 networks; the topology space has 15,625"):
        NatsBenchTable(folder)

    def fail(*_, **__):
        raise EOFError("Compressed file ended")

    monkeypatch.setattr(module, "create", fail)
    with pytest.raises(TableError, match=r"not readable as NATS-Bench's topology space \(EOFError"):
        NatsBenchTable(folder)


def test_without_the_package_the_message_says_how_to_get_it(fake_nats, monkeypatch):
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    with pytest.raises(TableError, match=r"read by the package nats_bench; pip install 'sparsenas\[nats\]'"):
        NatsBenchTable(fake_nats[1])
