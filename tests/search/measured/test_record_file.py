"""Measurements on disk: what is written is read again, what is torn is dropped, what is of others is refused."""

import json
import math

import pytest
import torch

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.search.measured.history import Entrant, Measurement
from sparsenas.search.measured.record_file import RecordFile, digest

SETTINGS = {"seed": 0, "space": "stage"}


def measurement(number, rung=0, losses=(0.5, 1.25), **options):
    entrant = Entrant(number, f"key {number}", "random", wave=number)
    return Measurement(entrant, rung, losses, accuracy=0.25, length=3.0, spent=3.5, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "tournament.jsonl"


def test_what_was_appended_is_read_again(path):
    found = [measurement(0), measurement(1, losses=(math.inf, math.inf), bonus=0.5), measurement(0, rung=1)]
    file = RecordFile(path, SETTINGS)
    for each in found:
        file.append(each)
    assert list(file.history) == list(RecordFile(path, SETTINGS).history) == found
    lines = path.read_text().splitlines()
    assert len(lines) == 4

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    assert [json.loads(line, parse_constant=refuse) for line in lines[1:]][1]["losses"] == ["inf", "inf"]


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_torn_last_line_is_dropped_from_the_file_too(path, cut):
    file = RecordFile(path, SETTINGS)
    for number in range(3):
        file.append(measurement(number))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    again = RecordFile(path, SETTINGS)
    kept = 3 if cut == 1 else 2  # only the end of the line is missing
    assert len(again.history) == kept
    for number in range(kept, 3):
        again.append(measurement(number))
    assert path.read_bytes() == whole


def test_another_search_is_refused_and_nothing_is_lost(path):
    RecordFile(path, SETTINGS).append(measurement(0))
    whole = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"of a search with other settings \(seed\); choose another folder"):
        RecordFile(path, {**SETTINGS, "seed": 1})
    assert path.read_bytes() == whole


def test_a_file_of_something_else_is_refused(path):
    path.parent.mkdir()
    path.write_text("hello\n")
    with pytest.raises(CheckpointError, match="not a file of a tournament"):
        RecordFile(path, SETTINGS)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"cannot be read .*; move it away"):
        RecordFile(path, SETTINGS)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        RecordFile(tmp_path / "file" / "tournament.jsonl", SETTINGS)


def test_a_digest_tells_images_and_labels_apart():
    images, labels = torch.arange(8.0).view(2, 1, 2, 2), torch.tensor([0, 1])
    found = digest([(images, labels)])
    assert found == digest([(images.clone(), labels.clone())])
    assert found != digest([(images + 1, labels)])
    assert found != digest([(images, labels.flip(0))])
