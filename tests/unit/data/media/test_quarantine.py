import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from merit_opt.data.media import quarantine as module
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.sample import Media
from merit_opt.errors import UserError


def media(digest, name="a.mp4"):
    return (Media(Path(name), digest),)


@pytest.fixture
def quarantine(tmp_path):
    return Quarantine(tmp_path / "cache" / "quarantine.json")


def test_an_entry_is_of_a_content_and_a_choice_of_reader(quarantine):
    quarantine.add(media("0"), "auto", "its decoder died with signal 11", None)
    found = quarantine.find(media("0", "elsewhere/b.mp4"), "auto", 1e9)
    assert (found.media, found.reason) == (("a.mp4",), "its decoder died with signal 11")
    assert quarantine.find(media("1"), "auto", 1.0) is None
    assert quarantine.find(media("0"), "pyav", 1.0) is None


def test_another_version_of_a_reader_tries_again(quarantine, monkeypatch):
    quarantine.add(media("0"), "auto", "died", None)
    for library in ("av", "decord"):
        with monkeypatch.context() as patched:
            patched.setattr(module, "version", lambda name, new=library: name == new or "1")
            assert quarantine.find(media("0"), "auto", 1.0) is None
    assert quarantine.find(media("0"), "auto", 1.0) is not None


@pytest.mark.parametrize("seconds", [5.0, 10.0, 10.1])
def test_a_medium_that_took_too_long_is_tried_again_when_it_gets_longer(quarantine, seconds):
    quarantine.add(media("0"), "auto", "late", 10.0)
    assert (quarantine.find(media("0"), "auto", seconds) is None) == (seconds > 10.0)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"quarantined": {"a": {}}}', "\x00"])
def test_a_torn_list_is_an_empty_one_and_is_written_anew(quarantine, text):
    quarantine.path.parent.mkdir()
    quarantine.path.write_text(text)
    assert quarantine.entries == {}
    quarantine.add(media("0"), "auto", "died", None)
    assert len(json.loads(quarantine.path.read_text())["quarantined"]) == 1


def test_no_entry_is_lost_when_several_write_at_once(quarantine):
    with ThreadPoolExecutor(8) as executor:
        for number in range(24):
            executor.submit(quarantine.add, media(str(number)), "auto", "died", None)
    assert len(quarantine.entries) == 24


def test_a_list_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot write .*quarantine\.json"):
        Quarantine(tmp_path / "cache" / "quarantine.json").add(media("0"), "auto", "died", None)
