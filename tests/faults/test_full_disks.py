"""Disks that are full, and files that nobody may write any more, in the middle of a study."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.cheap_study import WORKER
from tests.faults.kept import measured, require_told, require_tracked, require_whole, wait_for

pytestmark = pytest.mark.timeout(240)

TRIALS = 24
SECONDS = 0.05
SIZE_MB, PAGE = 16, 4096
SAME = "every told trial is kept: give the same command again once it can be written"


def system(*command: str) -> bool:
    """Whether the system does it for this user."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of the test's own."""
    place = tmp_path / "disk"
    place.mkdir()
    if not system("mount", "-t", "tmpfs", "-o", f"size={SIZE_MB}m", "tmpfs", str(place)):
        pytest.skip("this user may not mount a disk")
    try:
        yield place
    finally:
        assert system("umount", "-l", str(place))


def fill(disk: Path, pages: int = 0) -> Path:
    """A file that leaves so many pages of the disk free."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(PAGE))
        except OSError:
            file.truncate(file.tell() - pages * PAGE)
    return ballast


@contextmanager
def frozen(*files: Path) -> Iterator[None]:
    """Files that nobody may change, not even through what is open; root may neither."""
    names = [str(file) for file in files if file.exists()]
    if not system("chattr", "+i", *names):
        system("chattr", "-i", *names)
        pytest.skip("this user, or this file system, cannot make a file immutable")
    try:
        yield
    finally:
        system("chattr", "-i", *names)


def start(nursery, folder: Path, kind: str, place: Path, **options: object) -> int:
    return nursery.start(folder, WORKER, kind, str(place), TRIALS, SECONDS, options)


def require_a_sentence(folder: Path, *parts: str) -> None:
    said = (folder / "said").read_text()
    assert "Traceback" not in said
    [sentence] = [line for line in said.splitlines() if line.startswith("merit-opt: ")]
    for part in parts:
        assert part in sentence


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_storage_that_becomes_read_only_ends_the_study_and_it_goes_on_later(
    nursery, tmp_path, kind
):
    place = tmp_path / "kept"
    worker = start(nursery, tmp_path, kind, place)
    wait_for(lambda: measured(tmp_path) > 8)
    with frozen(place, place.with_name("kept-wal")):
        assert nursery.code(worker) == 2, (tmp_path / "said").read_text()
        require_a_sentence(tmp_path, f"the study storage {name(kind, place)} failed: ", SAME)
        (tmp_path / "said").unlink()
        assert nursery.code(start(nursery, tmp_path, kind, place)) == 2
        require_a_sentence(tmp_path, name(kind, place))
    assert nursery.code(start(nursery, tmp_path, kind, place)) == 0
    require_told(tmp_path, require_whole(kind, str(place), TRIALS))


def name(kind: str, place: Path) -> str:
    return f"sqlite:///{place}" if kind == "sqlite" else str(place)


@pytest.mark.parametrize("kind", ["sqlite", "journal"])
def test_a_full_disk_under_the_storage_ends_the_study_and_it_goes_on_later(
    nursery, disk, tmp_path, kind
):
    place = disk / "kept"
    worker = start(nursery, tmp_path, kind, place)
    wait_for(lambda: measured(tmp_path) > 8)
    ballast = fill(disk)
    assert nursery.code(worker) == 2, (tmp_path / "said").read_text()
    require_a_sentence(tmp_path, f"the study storage {name(kind, place)} failed: ", SAME)
    ballast.unlink()
    assert nursery.code(start(nursery, tmp_path, kind, place)) == 0
    require_told(tmp_path, require_whole(kind, str(place), TRIALS))


def test_a_full_disk_under_mlflow_stops_no_study(nursery, disk, empty_mlflow, tmp_path):
    database, place = Path(shutil.copy(empty_mlflow, disk)), tmp_path / "kept"
    options = {"tracking": f"sqlite:///{database}"}
    worker = start(nursery, tmp_path, "sqlite", place, **options)
    wait_for(lambda: measured(tmp_path) > 8)
    ballast = fill(disk)
    assert nursery.code(worker) == 0, (tmp_path / "said").read_text()
    said = (tmp_path / "said").read_text()
    assert "Traceback" not in said
    assert f"MLflow at sqlite:///{database} cannot be written" in said
    done = require_whole("sqlite", str(place), TRIALS)
    ballast.unlink()
    assert nursery.code(start(nursery, tmp_path, "sqlite", place, **options)) == 0
    require_tracked(database, done)


def test_a_full_disk_under_the_result_leaves_none_or_a_whole_one(nursery, disk, tmp_path):
    place, folder = tmp_path / "kept", disk / "studies" / "s"

    def run() -> int:
        return nursery.code(start(nursery, tmp_path, "sqlite", place, files=str(disk)))

    fill(disk)
    sentences: list[str] = []
    while (code := run()) != 0:
        said = (tmp_path / "said").read_text()
        assert (code, "Traceback" in said) == (2, False), said
        assert not (folder / "result.json").exists()
        require_a_sentence(tmp_path, f"cannot write {disk}/", "No space left on device")
        sentences.append(said)
        assert not list(disk.rglob(".writing-*"))
        (tmp_path / "said").unlink()
        shutil.rmtree(folder)
        fill(disk, pages=2 * len(sentences))
    assert any("result.json" in sentence for sentence in sentences)
    assert len(set(sentences)) > 2
    require_told(tmp_path, require_whole("sqlite", str(place), TRIALS))
