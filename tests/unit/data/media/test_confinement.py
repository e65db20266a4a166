"""What a process that decodes cannot do."""

import json
import platform
import struct
import sys
import zipfile

import pytest

from merit_opt.data.media.confinement import MACHINES, without_secrets
from merit_opt.data.media.decode_process import DecodeProcess
from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.medium import read_medium
from merit_opt.data.media.status import MediaError
from merit_opt.data.sample import Media
from tests.unit.data.media import bad_decoders

FOUR = FramePlan("uniform", 4, 1.0)
REFUSED = "Permission denied"
SECRETS = ("PGPASSWORD", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_URI", "MY_DB_URL")


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in MACHINES, reason="Linux refuses sockets"
)
def test_it_reaches_no_network_and_knows_no_password(tmp_path, monkeypatch):
    for name in SECRETS:
        monkeypatch.setenv(name, "canary")
    process = DecodeProcess(f"{bad_decoders.HERE}:confined", 24 * 1024**3)
    try:
        with pytest.raises(MediaError) as told:
            process.read(((Media(tmp_path / "a.mp4", "0"),), FOUR, "auto"), 60.0)
    finally:
        process.kill()
    found = json.loads(told.value.reason)
    child = f"PermissionError: [Errno 13] {REFUSED}"
    kinds = dict.fromkeys(("AF_INET", "AF_INET6", "AF_UNIX"), REFUSED)
    assert found["sockets"] == {**kinds, "child": child}
    assert not set(SECRETS) & set(found["variables"])
    assert "PATH" in found["variables"]
    assert found["core"] == [0, 0]


def test_variables_that_decoding_needs_are_kept():
    needed = {"PATH": "a", "LD_LIBRARY_PATH": "b", "TMPDIR": "c", "PYTHONPATH": "d", "HOME": "e"}
    assert without_secrets(needed | {"api_key": "x", "Credentials": "y"}) == needed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MERIT_STORAGE", "postgresql://me:secret@host/db"),
        ("OPTUNA_STORAGE", "postgresql://host/db?password=secret"),
        ("HTTPS_PROXY", "http://me:secret@proxy:3128"),
    ],
)
def test_a_variable_with_a_password_in_it_is_not_whatever_its_name(name, value):
    assert without_secrets({name: value, "http_proxy": "http://proxy:3128"}) == {
        "http_proxy": "http://proxy:3128"
    }


def test_a_zip_bomb_is_refused_before_anything_is_unpacked(tmp_path, monkeypatch):
    room = tmp_path / "temporary"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    monkeypatch.setattr("merit_opt.data.media.unpacked._copy", pytest.fail)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.mp4", bytes(65 * 1024**2))
    with pytest.raises(
        MediaError, match=r"its 65 MiB are packed into \d+ KiB, as no video or pict"
    ):
        read_medium((Media(tmp_path / "bomb.zip", "0", "a.mp4"),), FOUR)
    assert list(room.iterdir()) == []


def lying(path, mib: int, **declared: int):
    """A zip of zeros whose directory may lie about them."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.mp4", bytes(mib * 1024**2))
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    for name, value in declared.items():
        at = directory + {"compress_size": 20, "file_size": 24}[name]
        content[at : at + 4] = struct.pack("<I", value)
    path.write_bytes(content)
    return (Media(path, "0", "a.mp4"),)


def test_a_zip_bomb_that_lies_about_what_it_takes_is_refused_too(tmp_path, monkeypatch):
    monkeypatch.setattr("merit_opt.data.media.unpacked._copy", pytest.fail)
    media = lying(tmp_path / "bomb.zip", 65, compress_size=2**31)
    # Pythons that look for overlapping entries refuse it before anything is measured.
    refused = r"its 65 MiB are packed into \d\d KiB|possible zip bomb"
    with pytest.raises(MediaError, match=refused):
        read_medium(media, FOUR)


def test_no_more_is_unpacked_than_may_be_whatever_was_declared(tmp_path, monkeypatch):
    """As if the declared size were not kept to."""
    written: list[int] = []
    media = lying(tmp_path / "bomb.zip", 80)
    monkeypatch.setattr(zipfile.ZipInfo, "file_size", property(lambda _: 10, lambda *_: None))
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda *_: written.append(1) or bytes(1024**2))
    with pytest.raises(MediaError, match=r"its 65 MiB are packed into \d\d KiB"):
        read_medium(media, FOUR)
    assert len(written) == 65


def test_a_reason_without_words_is_named_by_its_kind(tmp_path, monkeypatch):
    def ended(*_: object) -> bytes:
        raise EOFError

    media = lying(tmp_path / "short.zip", 1)
    monkeypatch.setattr(zipfile.ZipExtFile, "read", ended)
    with pytest.raises(MediaError, match=r"cannot be unpacked \(EOFError\); download"):
        read_medium(media, FOUR)
