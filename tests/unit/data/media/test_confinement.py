"""What a process that decodes cannot do."""

import json
import platform
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
