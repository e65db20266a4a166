import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from merit_opt.data import versions
from merit_opt.data.media.frames import ALL_FRAMES, FramePlan
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.sample import Media
from merit_opt.errors import UserError

PLAN = FramePlan("uniform", 8, 1.0)


def job(digest, name="a.mp4", decoder="auto", plan=PLAN):
    return (Media(Path(name), digest),), plan, decoder


@pytest.fixture
def quarantine(tmp_path):
    return Quarantine(tmp_path / "cache" / "quarantine.json")


def test_an_entry_is_of_a_content_and_a_choice_of_reader(quarantine):
    quarantine.add(job("0"), "its decoder died with signal 11", None)
    found = quarantine.find(job("0", "elsewhere/b.mp4"), 1e9)
    assert (found.media, found.reason) == (("a.mp4",), "its decoder died with signal 11")
    assert quarantine.find(job("1"), 1.0) is None
    assert quarantine.find(job("0", decoder="pyav"), 1.0) is None


@pytest.mark.parametrize(
    "plan", [ALL_FRAMES, FramePlan("uniform", 1, 1.0), FramePlan("fps", 8, 1.0)]
)
def test_an_entry_does_not_bar_other_frames_of_the_medium(quarantine, plan):
    quarantine.add(job("0"), "its decoder wanted more than 24.0 GiB of memory", None)
    assert quarantine.find(job("0", plan=plan), 1.0) is None
    assert quarantine.find(job("0"), 1.0) is not None


def test_another_version_of_a_reader_tries_again(quarantine, monkeypatch):
    quarantine.add(job("0"), "died", None)
    for library in ("av", "decord"):
        with monkeypatch.context() as patched:
            patched.setattr(versions, "version", lambda name, new=library: name == new or "1")
            assert quarantine.find(job("0"), 1.0) is None
    assert quarantine.find(job("0"), 1.0) is not None


@pytest.mark.parametrize("seconds", [5.0, 10.0, 10.1])
def test_a_medium_that_took_too_long_is_tried_again_when_it_gets_longer(quarantine, seconds):
    quarantine.add(job("0"), "late", 10.0)
    assert (quarantine.find(job("0"), seconds) is None) == (seconds > 10.0)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"quarantined": {"a": {}}}', "\x00"])
def test_a_torn_list_is_an_empty_one_and_is_written_anew(quarantine, text):
    quarantine.path.parent.mkdir()
    quarantine.path.write_text(text)
    assert quarantine.entries == {}
    quarantine.add(job("0"), "died", None)
    assert len(json.loads(quarantine.path.read_text())["quarantined"]) == 1


def test_no_entry_is_lost_when_several_write_at_once(quarantine):
    with ThreadPoolExecutor(8) as executor:
        for number in range(24):
            executor.submit(quarantine.add, job(str(number)), "died", None)
    assert len(quarantine.entries) == 24


def test_a_list_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot write .*quarantine\.json"):
        Quarantine(tmp_path / "cache" / "quarantine.json").add(job("0"), "died", None)
