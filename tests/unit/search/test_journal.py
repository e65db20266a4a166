"""A journal has whole lines, whoever was killed or whatever disk was full while one was written."""

import errno
import os

import optuna
import pytest

from merit_opt.errors import UserError
from merit_opt.search.storage.faults import StorageFailed
from merit_opt.search.storage.journal import open_journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "merit.journal"


def study_at(path) -> optuna.Study:
    storage = open_journal(path=path, patience=0.0, grace=60.0)
    return optuna.create_study(storage=storage, study_name="s", load_if_exists=True)


@pytest.mark.parametrize("torn", [b"{", b'{"op_code":4,"study_id":0', b"x" * 200_000])
def test_half_a_line_of_a_killed_writer_is_cut_off(path, torn):
    study = study_at(path)
    study.tell(study.ask(), 1.0)
    with path.open("ab") as file:
        file.write(torn)
    other = study_at(path)
    assert [t.value for t in other.trials] == [1.0]
    other.tell(other.ask(), 2.0)
    assert [t.value for t in study_at(path).trials] == [1.0, 2.0]
    assert torn not in path.read_bytes().splitlines()


def test_a_line_for_which_the_disk_had_no_room_is_taken_back(path, monkeypatch):
    study = study_at(path)
    trial = study.ask()
    before = path.read_bytes()
    write = os.write

    def full(file: int, content: bytes) -> int:
        if len(content) <= 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content[: len(content) - 10])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(StorageFailed, match=f"{path} failed: No space left on device; every"):
            study.tell(trial, 1.0)
    assert path.read_bytes() == before
    study.tell(trial, 1.0)
    assert [t.value for t in study_at(path).trials] == [1.0]


def test_a_damaged_line_is_told_with_the_file(path):
    study = study_at(path)
    study.tell(study.ask(), 1.0)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"garbage\n", *lines[2:]]))
    with pytest.raises(UserError, match=f"{path}: the journal is damaged"):
        study_at(path)
