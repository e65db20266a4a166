import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.files import LOOK_BYTES, LOOKS, WHOLE_BYTES, sampled_digest, write_bytes, write_text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


@given(content=st.binary(max_size=200))
def test_bytes_come_back_as_they_were_written_and_nothing_lies_beside_them(folder, content):
    path = folder / "new" / "content"
    write_bytes(path, content)
    assert path.read_bytes() == content
    assert [p.name for p in path.parent.iterdir()] == ["content"]


def test_text_is_written_in_utf8_whatever_the_line_ends(tmp_path):
    write_text(tmp_path / "text", "ä\r\nb\n")
    assert (tmp_path / "text").read_bytes() == b"\xc3\xa4\r\nb\n"


def test_a_write_that_fails_leaves_the_old_content_alone_and_names_the_path(tmp_path, monkeypatch):
    path = tmp_path / "kept"
    write_bytes(path, b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        UserError, match=r"cannot write .*kept: No space left on device; free some"
    ):
        write_bytes(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert path.read_bytes() == b"old"


def test_a_folder_in_the_place_of_a_parent_file_is_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="cannot write"):
        write_bytes(tmp_path / "file" / "below", b"")


def digest_of(path, content):
    path.write_bytes(content)
    return sampled_digest(path)


@given(content=st.binary(min_size=1, max_size=200), where=st.integers(0, 199))
def test_any_change_of_a_small_file_changes_its_digest(folder, content, where):
    changed = bytearray(content)
    changed[where % len(content)] ^= 1
    assert digest_of(folder / "a", content) != digest_of(folder / "b", bytes(changed))
    assert digest_of(folder / "a", content) == digest_of(folder / "b", content)
    assert digest_of(folder / "a", content + b"\0") != digest_of(folder / "b", content)


@pytest.mark.parametrize("size", [WHOLE_BYTES + 1, 3 * WHOLE_BYTES + 17])
@pytest.mark.parametrize("look", [0, 1, LOOKS // 2, LOOKS - 1])
def test_of_a_large_file_first_last_and_even_samples_count(tmp_path, size, look):
    content = bytearray(size)
    before = digest_of(tmp_path / "a", bytes(content))
    start = (size - LOOK_BYTES) * look // (LOOKS - 1)
    for place in (start, start + LOOK_BYTES - 1):
        content[place] = 1
        assert digest_of(tmp_path / "a", bytes(content)) != before
        content[place] = 0
    assert digest_of(tmp_path / "a", bytes(size + 1)) != before


def test_a_large_file_is_not_read_whole(tmp_path):
    """64 samples of 4 KiB: the law that a video of gigabytes costs milliseconds."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert len(sampled_digest(path)) == 24
