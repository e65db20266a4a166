import random
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data import packed
from merit_opt.data.packed import members, packed_digest
from merit_opt.files import LOOK_BYTES, LOOKS, WHOLE_BYTES, sampled_digest

STORED, DEFLATED, RARE = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2
LARGE = 2 * WHOLE_BYTES + 17


def noise(size):
    return random.Random(size).randbytes(size)


def pack(folder, content, how):
    """The second of three members, behind bytes that are no part of the zip."""
    path = folder / "packed.zip"
    path.write_bytes(b"something before it")
    with zipfile.ZipFile(path, "a", how) as file:
        file.writestr("before", noise(77))
        with file.open("folder/a.mp4", "w", force_zip64=True) as member:
            member.write(content)
        file.writestr("after", noise(77))
    return path


def digest(path):
    return packed_digest(path, next(m for m in members(path) if m.filename == "folder/a.mp4"))


def unpacked(folder, content):
    (folder / "a.mp4").write_bytes(content)
    return sampled_digest(folder / "a.mp4")


@given(content=st.binary(max_size=300), how=st.sampled_from([STORED, DEFLATED]))
def test_a_member_has_the_digest_of_the_file_it_is_unpacked(tmp_path_factory, content, how):
    folder = tmp_path_factory.mktemp("packed")
    assert digest(pack(folder, content, how)) == unpacked(folder, content)


@pytest.mark.parametrize("how", [STORED, DEFLATED])
def test_a_large_member_has_the_digest_of_the_file_it_is_unpacked(tmp_path, how):
    content = noise(LARGE)
    assert digest(pack(tmp_path, content, how)) == unpacked(tmp_path, content)


def test_a_large_stored_member_is_not_read_whole(tmp_path, monkeypatch):
    path, read = pack(tmp_path, noise(LARGE), STORED), []
    whole = packed.stream_digest

    def counted(file, start, size):
        class Counted:
            seek = file.seek

            def read(self, count):
                read.append(count)
                return file.read(count)

        return whole(Counted(), start, size)

    monkeypatch.setattr(packed, "stream_digest", counted)
    digest(path)
    assert sum(read) == LOOKS * LOOK_BYTES


def test_what_is_compressed_and_too_large_or_in_a_rare_way_is_told_by_checksum_and_size(
    tmp_path, monkeypatch
):
    content = b"a" * 5000
    told = f"{zlib.crc32(content):08x}-{len(content):x}"
    assert digest(pack(tmp_path, content, RARE)) == told
    monkeypatch.setattr(packed, "UNPACKED_BYTES", 4999)
    assert digest(pack(tmp_path, content, DEFLATED)) == told


def test_a_member_that_unpacks_to_more_than_it_says_is_told_by_checksum_and_size(tmp_path):
    """Its size in the list of members is what is believed, and no more is unpacked."""
    path = pack(tmp_path, b"a" * 5000, DEFLATED)
    member = next(m for m in members(path) if m.filename == "folder/a.mp4")
    member.file_size = 10
    assert packed_digest(path, member) == f"{member.CRC:08x}-a"


@pytest.mark.parametrize("how", [STORED, DEFLATED])
def test_a_torn_header_of_a_member_is_told_by_checksum_and_size(tmp_path, how):
    path = pack(tmp_path, b"content", how)
    member = next(m for m in members(path) if m.filename == "folder/a.mp4")
    torn = bytearray(path.read_bytes())
    torn[member.header_offset] ^= 1
    path.write_bytes(torn)
    assert packed_digest(path, member) == f"{member.CRC:08x}-7"
