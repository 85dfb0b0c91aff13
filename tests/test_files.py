"""Files appear whole or not at all, and what killed writers left goes away."""

import errno
import os
import subprocess
import sys

import pytest

from sparsenas.errors import ConfigError
from sparsenas.files import held, partial_name, why_not_written, write_atomically


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "a.json"
    for content in (b"one", b"two"):
        write_atomically(path, content)
        assert path.read_bytes() == content
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_a_killed_writer_left_goes_away_but_not_that_of_others(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    path = tmp_path / "a.json"
    mine = partial_name(path).name
    others = [mine.replace(str(os.getpid()), "1"), mine.replace("a.json", "b.json"), "a.json.partial"]
    left = mine.replace(str(os.getpid()), str(gone.pid))
    for name in (*others, left):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / left.replace(str(gone.pid), f"0{gone.pid}")).mkdir()  # of an export
    os.utime(tmp_path / left.replace(str(gone.pid), f"0{gone.pid}"), (0, 0))
    write_atomically(path, b"one")
    assert sorted(os.listdir(tmp_path)) == sorted(["a.json", *others])


def test_what_is_new_may_be_of_another_machine_of_that_name(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    name = partial_name(tmp_path / "a.json").name.replace(str(os.getpid()), str(gone.pid))
    (tmp_path / name).touch()
    write_atomically(tmp_path / "a.json", b"one")
    assert sorted(os.listdir(tmp_path)) == sorted(["a.json", name])


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("none/a.json", r"none/a.json: cannot write \(No such file or directory\); name a file in an existing"),
        ("file/a.json", r"cannot write \(Not a directory\)"),
        ("folder", r"folder: cannot write \(Is a directory\)"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path, place, message):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigError, match=message):
        write_atomically(tmp_path / place, b"one")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_full_disk_is_said():
    error = OSError(errno.ENOSPC, "No space left on device")
    assert why_not_written(error) == "cannot write (No space left on device); free some space"


def test_a_folder_is_held_by_one_process_until_it_ends(tmp_path):
    program = """
import sys, time
from pathlib import Path
from sparsenas.files import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        message = f"is in use by process {other.pid} of .*, since 2.*; wait for it"
        with pytest.raises(ConfigError, match=message), held(tmp_path):
            pass
        other.kill()
    with held(tmp_path):
        pass
    with pytest.raises(ZeroDivisionError), held(tmp_path):
        1 / 0  # noqa: B018
    with held(tmp_path):
        pass
