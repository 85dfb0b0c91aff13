"""Scores on disk: what comes back from them, and which files are refused."""

import json
import os

import numpy as np
import pytest
import torch

from sparsenas.errors import CheckpointError, ConfigError
from sparsenas.search.measured import Measured, ScoreFile
from sparsenas.search.measured.score_file import digest
from sparsenas.spaces import DartsSpace, WeightSharing64Space

WS64 = WeightSharing64Space()
SETTINGS = {"seed": 0, "proxies": ["one", "other"]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "proxies.jsonl"


@pytest.fixture
def some(drawn):
    """Scores of all kinds: large, tiny, infinite; trained, not trained and diverged."""
    values = [((1 / 3, 1e300), (5e-324, -0.0)), ((-np.inf, 1.0), (2.0, np.inf)), ((0.1, 0.2), (0.3, 0.4))]
    trained = [None, -np.inf, -2.3]
    return {support: Measured(*both) for support, *both in zip(drawn(WS64, 3), values, trained, strict=True)}


def write(path, known, settings=SETTINGS, space=WS64):
    file = ScoreFile(path, space, settings)
    for support, measured in known.items():
        file.append(support, measured)


def test_what_was_written_comes_back_exactly(path, some):
    write(path, some)
    again = ScoreFile(path, WS64, SETTINGS)
    assert again.known == some
    assert list(again.known) == list(some)
    text = path.read_bytes()
    assert ScoreFile(path, WS64, SETTINGS).known == some
    assert path.read_bytes() == text
    assert os.listdir(path.parent) == ["proxies.jsonl"]


def test_every_line_stands_alone_and_names_its_genotype(path, drawn):
    space = DartsSpace(3)
    known = {support: Measured(((1.0,),)) for support in drawn(space, 2)}
    write(path, known, space=space)
    head, *lines = map(json.loads, path.read_text().splitlines())
    assert head["settings"] == SETTINGS
    assert [json.dumps(line["genotype"]) for line in lines] == [
        json.dumps(json.loads(space.genotype(support).to_json())) for support in known
    ]


def test_a_later_line_of_the_same_architecture_holds(path, some):
    (support, measured), *_ = some.items()
    write(path, some)
    ScoreFile(path, WS64, SETTINGS).append(support, Measured(measured.values, -1.5))
    assert ScoreFile(path, WS64, SETTINGS).known[support] == Measured(measured.values, -1.5)


def test_a_torn_last_line_is_dropped_wherever_it_is_torn(path, some):
    write(path, some)
    text = path.read_bytes()
    last = len(text.splitlines(keepends=True)[-1])
    for cut in (*range(2, last, 7), last):
        path.write_bytes(text[:-cut])
        file = ScoreFile(path, WS64, SETTINGS)
        assert list(file.known.items()) == list(some.items())[:2]
        file.append(list(some)[2], list(some.values())[2])
        assert path.read_bytes() == text
    path.write_bytes(text[:-1])  # only the end of the line is missing
    assert ScoreFile(path, WS64, SETTINGS).known == some
    assert path.read_bytes() == text


def test_an_empty_file_is_a_new_one(path, some):
    path.parent.mkdir()
    path.touch()
    write(path, some)
    assert ScoreFile(path, WS64, SETTINGS).known == some


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"proxies": ["one"]}, "proxies"),
        ({"seed": 1, "proxies": []}, "proxies, seed"),
        ({"images": "abc"}, "images"),
    ],
)
def test_scores_of_other_settings_are_refused_and_kept(path, some, other, named):
    write(path, some)
    text = path.read_bytes()
    with pytest.raises(
        CheckpointError, match=rf"proxies\.jsonl: its scores are of a search with other settings \({named}\); choose"
    ):
        ScoreFile(path, WS64, SETTINGS | other)
    assert path.read_bytes() == text


@pytest.mark.parametrize("text", ["hello\n", "[]\n", "{}\n", '{"settings": 3}\n'])
def test_another_file_is_refused_and_kept(path, text):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"\(not a score file\); choose another folder"):
        ScoreFile(path, WS64, SETTINGS)
    assert path.read_text() == text


def test_a_file_that_cannot_be_read(path):
    path.parent.mkdir()
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"proxies\.jsonl: cannot be read \(.*\); move it away"):
        ScoreFile(path, WS64, SETTINGS)


def test_a_folder_that_cannot_be_made(path, tmp_path):
    path.parent.touch()
    with pytest.raises(ConfigError, match=r"proxies\.jsonl: cannot be "):
        ScoreFile(path, WS64, SETTINGS)


def test_a_file_that_can_no_longer_be_written(path, some):
    file = ScoreFile(path, WS64, SETTINGS)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=r"proxies\.jsonl: cannot be written \(Is a directory\)"):
        file.append(*next(iter(some.items())))


def test_a_digest_tells_images_and_labels_apart(make_bench):
    batches = make_bench().batches
    images, labels = batches[0]
    found = digest(batches)
    assert digest([(images.clone(), labels.clone()), *batches[1:]]) == found
    assert digest([(images * (1 + 1e-7), labels), *batches[1:]]) == found  # as on another machine
    for other in ([(images + 0.01, labels)], [(images, labels.flip(0))], [], [(images, labels), batches[1]]):
        assert digest([*other, *batches[1:]]) != found
    assert digest(batches[::-1]) != found
    assert digest([(images.to(torch.bfloat16), labels)]) is not None
