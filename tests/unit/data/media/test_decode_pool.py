import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from merit_opt.data.media import decode_pool
from merit_opt.data.media.decode_pool import DecodePool, MediaSettings
from merit_opt.data.media.frames import ALL_FRAMES, FramePlan
from merit_opt.data.media.image import Image
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.media.status import MediaError, MediaStatus
from merit_opt.data.media.video import read_video
from merit_opt.data.sample import Media
from tests.unit.data.media import bad_decoders
from tests.videos import encode, numbers

NAMED = f"{bad_decoders.HERE}:named"
PLAN = FramePlan("uniform", 3, 1.0)
GIB = 1024**3


def settings(**changes):
    values = {"workers": 2, "seconds": 60.0, "frames_in_flight": 64, "decoder": "auto"}
    return MediaSettings(**values | changes)


@pytest.fixture
def media(tmp_path):
    return lambda *names: [(Media(tmp_path / f"{name}.mp4", str(name)),) for name in names]


@pytest.fixture
def quarantine(tmp_path):
    return Quarantine(tmp_path / "cache" / "quarantine.json")


@pytest.fixture
def pool(quarantine):
    def make(media, plan=PLAN, reader=NAMED, memory=24 * GIB, is_wanted=lambda m: True, **changes):
        return DecodePool(
            media, plan, settings(**changes), quarantine,
            is_wanted=is_wanted, reader=reader, memory=memory,
        )  # fmt: skip

    return make


def taken(pool, media):
    """Stem -> first value of its frames, or why it failed."""
    found = {}
    with pool as running:
        for one in media:
            try:
                found[one[0].path.stem] = int(running.take(one).frames[0, 0, 0, 0])
            except MediaError as error:
                found[one[0].path.stem] = error.reason
    return found


def log(tmp_path):
    """(stem, process) of every call."""
    lines = (tmp_path / "log").read_text().splitlines()
    return [(line.rpartition(" ")[0], int(line.rpartition(" ")[2])) for line in lines]


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(processes):
    for _ in range(500):
        if not any(map(is_alive, processes)):
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_every_medium_comes_in_order_and_is_read_once(pool, media, tmp_path, workers):
    asked = media(*range(40))
    assert taken(pool(asked, workers=workers), asked) == {str(i): i for i in range(40)}
    called = log(tmp_path)
    assert sorted(int(stem) for stem, _ in called) == list(range(40))
    assert len({process for _, process in called}) <= workers
    assert gone({process for _, process in called})


def test_a_pool_without_work_starts_no_process(pool, tmp_path):
    with pool([]):
        pass
    assert not (tmp_path / "log").exists()


def test_a_medium_that_nobody_wants_any_more_is_not_read_until_it_is_taken(pool, media, tmp_path):
    asked = media(1, 2, 3)
    with pool(asked, is_wanted=lambda m: m[0].path.stem != "2") as running:
        assert running.take(asked[2]).frames[0, 0, 0, 0] == 3
        assert "2" not in [stem for stem, _ in log(tmp_path)]
        assert running.take(asked[1]).frames[0, 0, 0, 0] == 2
        stranger = media(9)[0]
        assert running.take(stranger).frames[0, 0, 0, 0] == 9


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hangs", "it was not decoded within 1 s"),
        ("ignores signals", "it was not decoded within 1 s"),
        ("crashes", "its decoder died with signal 11"),
        ("exits", "its decoder died with exit code 3"),
        ("eats memory", r"its decoder wanted more than 1\.5 GiB of memory"),
    ],
)
def test_what_kills_its_process_is_quarantined_and_the_rest_goes_on(
    pool, media, quarantine, tmp_path, name, reason
):
    asked = media(1, 2, name, 3, 4)
    for attempt in range(2):
        found = taken(pool(asked, seconds=1.0, memory=3 * GIB // 2), asked)
        bad = found.pop(name)
        assert found == {str(i): i for i in range(1, 5)}
        (entry,) = quarantine.entries.values()
        assert entry.media == (str(asked[2][0].path),)
        assert re.fullmatch(reason, entry.reason)
        expected = f"{entry.reason}; replace the file" if attempt == 0 else (
            f"{entry.reason} on {entry.time}, so it is not tried again; to try it, delete "
            f"{quarantine.path}"
        )  # fmt: skip
        assert bad == expected
    calls = [stem for stem, _ in log(tmp_path)]
    assert calls.count(name) == (2 if "died" in reason else 1)
    quarantine.path.unlink()
    assert not quarantine.entries
    assert gone({process for _, process in log(tmp_path)})


def test_a_longer_deadline_tries_what_was_too_slow_again(pool, media, tmp_path):
    asked = media("hangs")
    for seconds in (0.5, 0.5, 0.2, 1.0, 1.0):
        assert "not decoded within" in taken(pool(asked, seconds=seconds), asked)["hangs"]
    assert len(log(tmp_path)) == 2


def test_a_process_that_died_by_chance_is_asked_again(pool, media, quarantine):
    asked = media("crashes once", 5)
    assert taken(pool(asked), asked) == {"crashes once": 7, "5": 5}
    assert not quarantine.entries


def test_a_file_that_merely_cannot_be_read_is_not_quarantined(pool, media, quarantine, tmp_path):
    asked = media("fails")
    for _ in range(2):
        assert taken(pool(asked), asked) == {"fails": "no moov atom; download it again"}
    assert len(log(tmp_path)) == 2
    assert not quarantine.path.exists()


def test_a_fault_of_ours_is_raised_with_its_traceback(pool, media):
    asked = media("has a fault")
    with (
        pool(asked) as running,
        pytest.raises(RuntimeError, match=r"(?s)named.*ZeroDivisionError"),
    ):
        running.take(asked[0])


def test_what_a_library_prints_is_no_answer(pool, media):
    asked = media("prints", 1)
    assert taken(pool(asked), asked) == {"prints": 7, "1": 1}


def test_a_reader_that_cannot_be_imported_is_told_and_how_to_see_why(pool, media):
    asked = media(1)
    with (
        pool(asked, reader="nowhere:read") as running,
        pytest.raises(RuntimeError, match=r"cannot be started:\n(?s:.*)No module named 'nowhere'"),
    ):
        running.take(asked[0])


@pytest.mark.parametrize("plan", [PLAN, FramePlan("all", 3, 1.0)])
def test_no_more_frames_wait_than_are_allowed(pool, media, tmp_path, plan):
    asked = media(*range(12))
    with pool(asked, plan=plan, frames_in_flight=7) as running:
        running.take(asked[0])
        for _ in range(300):
            time.sleep(0.01)
            if len(log(tmp_path)) >= 3:
                break
        time.sleep(0.3)
        assert 2 <= len(log(tmp_path)) <= 4  # the first, two that fit, and the one taken next
        for one in asked[1:]:
            running.take(one)
    assert len(log(tmp_path)) == 12


def test_nothing_is_decoded_ahead_while_enough_bytes_wait(pool, media, tmp_path, monkeypatch):
    monkeypatch.setattr(decode_pool, "WAITING_BYTES", 2 * 3 * 4 * 4 * 3)  # two media
    asked = media(*range(12))
    with pool(asked, frames_in_flight=1000, workers=1) as running:
        running.take(asked[0])
        for _ in range(300):
            time.sleep(0.01)
            if len(log(tmp_path)) >= 3:
                break
        time.sleep(0.3)
        assert 2 <= len(log(tmp_path)) <= 4  # the first, two that wait, and the one taken next
        for one in asked[1:]:
            running.take(one)
    assert len(log(tmp_path)) == 12


def test_one_medium_larger_than_what_may_wait_is_read_all_the_same(pool, media):
    asked = media(1, 2, 3)
    assert taken(pool(asked, frames_in_flight=1), asked) == {"1": 1, "2": 2, "3": 3}


def test_leaving_the_block_ends_processes_that_hang(pool, media, tmp_path):
    asked = media("hangs", 1)
    with pool(asked, seconds=1000.0):
        while not (tmp_path / "log").exists() or len(log(tmp_path)) < 1:
            time.sleep(0.01)
        begun = time.monotonic()
    assert time.monotonic() - begun < 20
    assert gone({process for _, process in log(tmp_path)})


ALONE = """
import sys, time
from pathlib import Path
from merit_opt.data.media.decode_pool import DecodePool, MediaSettings
from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.sample import Media
folder = Path(sys.argv[1])
asked = [(Media(folder / f"{name}.mp4", name),) for name in ("hangs", "1", "ignores signals")]
settings = MediaSettings(workers=2, seconds=1000.0, frames_in_flight=64, decoder="auto")
quarantine = Quarantine(folder / "quarantine.json")
with DecodePool(asked, FramePlan("uniform", 3, 1.0), settings, quarantine, reader=READER) as pool:
    pool.take(asked[0])
""".replace("READER", repr(NAMED))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a hung child with its parent")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_process_outlives_the_one_that_asked(tmp_path, repo, number):
    environment = os.environ | {"PYTHONPATH": str(repo)}
    command = [sys.executable, "-c", ALONE, str(tmp_path)]
    parent = subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, start_new_session=True
    )
    while not (tmp_path / "log").exists() or len(log(tmp_path)) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    os.killpg(parent.pid, number) if number == signal.SIGINT else parent.send_signal(number)
    _, told = parent.communicate(timeout=60)
    assert gone({process for _, process in log(tmp_path)})
    if number == signal.SIGINT:
        assert told.count(b"KeyboardInterrupt") == 1


def test_a_daemon_may_have_a_pool_too(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=bad_decoders.take_one, args=(str(tmp_path),), daemon=True
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert (tmp_path / "found").read_text() == "5"


def test_a_process_imports_no_more_than_decoding_needs(pool, media):
    asked = media(1)
    with (
        pool(asked, reader=f"{bad_decoders.HERE}:loaded") as running,
        pytest.raises(MediaError) as caught,
    ):
        running.take(asked[0])
    heavy = {"torch", "transformers", "mlflow", "optuna", "hydra", "scipy", "sklearn", "decord"}
    assert not heavy & set(json.loads(caught.value.reason))


def test_a_process_reads_videos_images_and_pairs_as_this_one_does(pool, tmp_path):
    from PIL import Image as Pillow

    video = encode(tmp_path / "a.mp4")
    picture = tmp_path / "b.png"
    Pillow.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(picture)
    one, other = Media(video, "a", start=0.5, end=1.5), Media(picture, "b")
    asked = [(one,), (other,), (one, other)]
    with pool(asked, reader="merit_opt.data.media.medium:read_medium") as running:
        clip, still, both = (running.take(m) for m in asked)
    here = read_video(video, PLAN, 0.5, 1.5)
    np.testing.assert_array_equal(clip.frames, here.frames)
    assert (clip.sampling, clip.status) == (here.sampling, here.status)
    assert isinstance(still, Image)
    np.testing.assert_array_equal(still.pixels, np.arange(48).reshape(4, 4, 3))
    assert still.status == MediaStatus("ok", "Pillow")
    assert len(both.frames) == 4
    assert numbers(both.frames[:3]) == list(here.sampling.indices)


def test_all_frames_come_through(pool, tmp_path):
    path = encode(tmp_path / "a.mp4", frames=200, size=(256, 128))
    asked = [(Media(path, "a"),)]
    with pool(asked, plan=ALL_FRAMES, reader="merit_opt.data.media.medium:read_medium") as running:
        assert numbers(running.take(asked[0]).frames) == list(range(200))
