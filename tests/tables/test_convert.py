"""Releases as their authors publish them, made small: what becomes of them, and what damaged ones say."""

import bz2
import gzip
import json
import pickle
import random
import subprocess
import sys
import tarfile
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

from sparsenas.cli import main
from sparsenas.errors import TableError
from sparsenas.tables import NasBench201Table, NasBenchMacroTable, NatsBenchTable, WeightSharing64Table
from sparsenas.tables.convert import convert
from sparsenas.tables.nasbench201 import NASBENCH201_COLUMNS
from sparsenas.tables.releases import NASBENCH_MACRO, NATS_BENCH, RELEASES

MACRO_TEXTS = ["".join(digits) for digits in product("012", repeat=8)]


@pytest.fixture
def error(tmp_path, monkeypatch, capsys):
    """Run the command, which must fail and write nothing; gives its message."""
    monkeypatch.delenv("SPARSENAS_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*args):
        assert main(["tables", *map(str, args)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert not list(Path().glob("tables/*"))
        return line.removeprefix("sparsenas: error: ")

    return run


def macro(accuracies, params=400_000, flops=8_000_000):
    """An entry of NAS-Bench-Macro: its authors save 32-bit floats."""
    seen = np.array(accuracies, dtype=np.float32).tolist()
    return {"test_acc": seen, "mean_acc": np.mean(seen), "std": np.std(seen), "params": params, "flops": flops}


def macro_file(path, change=lambda networks: None):
    networks = {text: macro([80 + int(text, 3) / 1000, 80.5, 81]) for text in MACRO_TEXTS}
    change(networks)
    path.write_text(json.dumps(networks))
    return path


def test_nasbench_macro_becomes_our_rows(ours, make, tmp_path):
    header, *rows = ours("nasbench_macro.csv.gz")
    networks = {}
    for row in random.Random(0).sample(rows, len(rows)):  # published in the order of a folder, as 32-bit floats
        first, second, third, mean, deviation = np.float32(row[1:6]).tolist()
        networks[row[0]] = macro([first, second, third], int(row[6]), int(row[7]))
        networks[row[0]].update(mean_acc=mean, std=deviation)
    (tmp_path / "release.json").write_text(json.dumps(networks))
    assert make(tmp_path / "release.json")[1] == [header, *rows]


def test_releases_are_told_by_content_and_read_by_their_class(make, tmp_path):
    table = NasBenchMacroTable(make(macro_file(tmp_path / "downloaded.bin"))[0])
    assert table.accuracy(table.space.from_string("00000012"), "cifar10", "test", 50) == pytest.approx(80.5017)


def weight_sharing(folder, means, deviations, snapshots):
    for name in ("assets", "figures/assets", "figures/clustering"):
        (folder / name).mkdir(parents=True)
    np.savetxt(folder / "figures/assets/gt_acc.txt", means)
    np.savetxt(folder / "assets/gt_std.txt", deviations)
    lines = [["", *range(64)], *([step, *values] for step, values in snapshots.items())]
    text = "".join(",".join(map(str, line)) + "\n" for line in lines)
    (folder / "figures/clustering/share_all_acc_last128.csv").write_text(text)
    return folder


def test_weight_sharing_becomes_our_rows(ours, make, tmp_path):
    header, *rows = ours("weight_sharing_64.csv.gz")
    columns = dict(zip(header, np.array(rows).T.tolist(), strict=True))
    shared = {int(name[3:]): map(float, values) for name, values in columns.items() if name.startswith("ss_")}
    folder = weight_sharing(tmp_path / "clone", np.float64(columns["gt_mean"]), np.float64(columns["gt_std"]), shared)
    path, made = make(folder)
    assert made == [header, *rows]
    assert len(WeightSharing64Table(path)) == 64


@pytest.mark.parametrize("kind", [list, torch.tensor, np.array, lambda times: [np.float64(time) for time in times]])
def test_latencies_become_our_rows(ours, make, tmp_path, kind):
    header, *rows = (row[:2] for row in ours("nasbench201_latency_ms.csv.gz"))
    folder = tmp_path / "latency"
    folder.mkdir()
    for number, device in enumerate(header[1:], start=1):
        torch.save(kind([float(row[number]) for row in rows]), folder / f"{device}.pt")
    assert make(folder)[1] == [header, *rows]


@pytest.fixture
def release(fake_nats):
    """The stand-in's folder of NATS-Bench."""
    module, folder = fake_nats
    (folder / "meta.pickle.pbz2").touch()
    return module, folder


@pytest.mark.slow
def test_nats_bench_becomes_a_table_of_means_network_by_network(release, make, monkeypatch):
    module, folder = release
    kept, forget = [], NatsBenchTable.forget
    monkeypatch.setattr(
        NatsBenchTable, "forget", lambda table: (kept.append(len(module.api.arch2infos_dict)), forget(table))
    )
    table = NasBench201Table(make(folder)[0])
    assert set(kept) == {1}  # all 15,625 together would fill the memory
    source = NatsBenchTable(folder)
    assert table.texts == source.texts
    assert set(table.trainings) == set(NASBENCH201_COLUMNS)
    for genotype in table.genotypes[::1000]:
        assert table.cost(genotype) == source.cost(genotype)
        for training in table.trainings:
            assert table.accuracy(genotype, *training) == pytest.approx(source.accuracy(genotype, *training), abs=1e-4)


def test_a_damaged_network_of_nats_bench_is_named(release, error):
    module, folder = release
    module.missing.add(7)
    assert "network 7 cannot be read for cifar10" in error(folder)
    module.texts = module.texts[:3]
    assert "3 networks; the topology space has 15,625" in error(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda networks: networks.popitem(), r"6,560 keys, which are not the 6,561 networks"),
        (lambda networks: networks["00000000"].pop("std"), r"00000000 must have .* \(KeyError\('std'\)\)"),
        (lambda networks: networks["00000001"].update(test_acc=[1, 2]), r"00000001 must have three numbers"),
        (lambda networks: networks["00000002"].update(params="many"), r"00000002 must have .* \(ValueError"),
        (lambda networks: networks.update({"00000010": 93.1}), r"00000010 must have .* \(TypeError"),
        (
            lambda networks: networks["22222222"].update(mean_acc=float("nan")),
            r"not readable as JSON .NaN is no number",
        ),
        (
            lambda networks: networks["22222222"].update(flops=float("inf")),
            r"not readable as JSON .Infinity is no number",
        ),
    ],
)
def test_wrong_files_of_nasbench_macro(tmp_path, change, message):
    with pytest.raises(TableError, match=message):
        convert(macro_file(tmp_path / "release", change), NASBENCH_MACRO)


def archive(folder):
    with tarfile.open(folder / "NATS-tss-v1_0-3ffb9-simple.tar", "w:bz2") as tar:
        tar.add(__file__, "meta.pickle.pbz2")
    return folder / "NATS-tss-v1_0-3ffb9-simple.tar"


def written(name, content):
    def write(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
        return folder / name

    return write


def latency(content):
    return lambda folder: written("latency/raspi4.pt", content)(folder).parent


def with_a_bad_number(folder):
    weight_sharing(folder / "clone", np.ones(64), np.ones(64), {9: np.ones(64)})
    (folder / "clone/assets/gt_std.txt").write_text("high\n" * 64)
    return folder / "clone"


def with_a_file_missing(folder):
    path = with_a_bad_number(folder)
    (path / "assets/gt_std.txt").unlink()
    return path


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda folder: folder / "none", "none: cannot be read (No such file or directory)"),
        (lambda folder: folder, "not of a benchmark that can be converted; `python -m sparsenas tables` lists"),
        (written("empty", b""), "not of a benchmark that can be converted"),
        (written("table.csv.gz", gzip.compress(b"arch,label\n")), "not of a benchmark that can be converted"),
        (written("list.json", b"[1, 2]"), "not of a benchmark that can be converted"),
        (written("cut.json", b'{"00000000": {"test_acc": [45'), "cut.json: not readable as JSON"),
        (written("other.json", b'{"1111111": {"mean_acc": 1}}'), "1 keys, which are not the 6,561 networks"),
        (written("latin.json", b'{"\xe9": 1}'), "latin.json: not readable as JSON"),
        (written("deep.json", b'{"a":' * 100_000), "deep.json: not readable as JSON"),
        (archive, "unpack this archive, and name the folder"),
        (latency(b"not a pickle"), "raspi4.pt: not readable as numbers"),
        (latency(pickle.dumps(print)), "raspi4.pt: not readable as numbers"),
        (with_a_bad_number, "gt_std.txt: not readable as numbers"),
        (with_a_file_missing, "cannot be read"),
    ],
)
def test_files_that_cannot_be_converted(tmp_path, error, write, message):
    assert message in error(write(tmp_path))


def test_numbers_that_are_too_few(tmp_path, error):
    torch.save([1.0, 2.0], written("latency/raspi4.pt", b"")(tmp_path))
    assert "raspi4.pt: must hold 15,625 finite numbers, has shape (2,)" in error(tmp_path / "latency")


def test_a_release_that_only_the_package_can_read(tmp_path, error, monkeypatch):
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    path = written("NATS-tss-v1_0-3ffb9.pickle.pbz2", bz2.compress(b"x"))(tmp_path)
    assert "pip install 'sparsenas[nats]'" in error(path)


def test_nothing_is_replaced(tmp_path, error, make, capsys):
    path = macro_file(tmp_path / "release.json")
    assert "is already there or made twice" in error(path, path)
    content = make(path)[0].read_bytes()
    assert main(["tables", str(path)]) == 2
    assert "is already there" in capsys.readouterr().err
    assert Path("tables/nasbench_macro.csv.gz").read_bytes() == content


def test_a_folder_that_cannot_be_made(tmp_path, error):
    path = macro_file(tmp_path / "release.json")
    assert "cannot write there (" in error(path, "--out", path / "inside")


def test_tables_go_where_classes_look_for_them(tmp_path, monkeypatch, capsys):
    path = macro_file(tmp_path / "release.json")
    monkeypatch.setenv("SPARSENAS_DATA", str(tmp_path / "new" / "data"))
    assert main(["tables", str(path)]) == 0
    assert "export" not in capsys.readouterr().out
    assert len(NasBenchMacroTable()) == len(MACRO_TEXTS)
    assert main(["tables", str(path), "--out", str(tmp_path / "other")]) == 0
    assert f"export SPARSENAS_DATA={tmp_path / 'other'}" in capsys.readouterr().out


def test_the_list_says_where_to_get_each_table_and_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPARSENAS_DATA", str(tmp_path))
    (tmp_path / NATS_BENCH.table).mkdir()
    assert main(["tables"]) == 0
    text = capsys.readouterr().out
    for release in RELEASES:
        assert {part for part in release[:-1] if part not in text} == set()
    assert text.count("  found ") == 1
    assert f"  found      {tmp_path / NATS_BENCH.table}\n" in text


def test_the_list_needs_no_torch():
    script = "import sys; from sparsenas.cli import main; main(['tables']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0
