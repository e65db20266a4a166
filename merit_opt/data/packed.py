"""Members of zip files, identified as if they were unpacked."""

import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

from merit_opt.errors import UserError
from merit_opt.files import content_digest, stream_digest

UNPACKED_BYTES = 64 * 1024**2
LOCAL = struct.Struct("<4s22xHH")
BEGIN = b"PK\x03\x04"
ENCRYPTED = 1


def members(archive: Path) -> list[zipfile.ZipInfo]:
    """Its files; of those of one name the last, which is the one that is read by that name.

    Raises:
        UserError: It is no whole zip file.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            by_name = {info.filename: info for info in file.infolist() if not info.is_dir()}
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{archive} is not a whole zip file ({error}); download it again"
        ) from error
    return list(by_name.values())


def packed_digest(archive: Path, member: zipfile.ZipInfo) -> str:
    """As `sampled_digest` of the member unpacked.

    Where that would take the unpacking of more than 64 MiB, or the member is encrypted, damaged or
    compressed in a rare way, its checksum and size instead.
    """
    try:
        with archive.open("rb", buffering=0) as file:
            found = None if member.flag_bits & ENCRYPTED else _digest(file, member)
    except (OSError, ValueError, struct.error, zlib.error):
        found = None
    return found or f"{member.CRC:08x}-{member.file_size:x}"


def _digest(file: IO[bytes], member: zipfile.ZipInfo) -> str | None:
    start, packed, size = _start(file, member), member.compress_size, member.file_size
    if member.compress_type == zipfile.ZIP_STORED and packed == size:
        return stream_digest(file, start, size)
    if member.compress_type == zipfile.ZIP_DEFLATED and max(packed, size) <= UNPACKED_BYTES:
        file.seek(start)
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        content = inflate.decompress(file.read(packed), size + 1)
        return content_digest(content) if zlib.crc32(content) == member.CRC else None
    return None


def _start(file: IO[bytes], member: zipfile.ZipInfo) -> int:
    """Where its data begins: after a header of its own, with lengths of its own."""
    file.seek(member.header_offset)
    mark, name, extra = LOCAL.unpack(file.read(LOCAL.size))
    if mark != BEGIN:
        raise ValueError("no member begins here")
    return member.header_offset + LOCAL.size + name + extra
