"""What becomes of clips from other projects' tests, each with a trait of its own."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from merit_opt.data.media.decode_pool import DecodePool, MediaSettings
from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.media.status import MediaError
from merit_opt.data.media.video import read_video
from merit_opt.data.sample import Media

REAL = Path(__file__).parents[5] / "shared" / "bench_data" / "videos"
SOME = FramePlan("uniform", 8, 1.0)
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason="the real clips are not on this machine")


@dataclass(frozen=True)
class Outcome:
    """Height and width of the frames, frames in the file, seconds of the last, who read it, how."""

    shape: tuple[int, int]
    total: int
    last: float
    reader: str = "decord"
    kind: str = "ok"
    detail: str = ""


OUTCOMES = {
    "aa_yoga.mp4": Outcome((320, 568), 300, 9.967),
    "ae_SAR-2by3.mp4": Outcome((360, 640), 60, 1.967),
    "ae_h264_plus_png_stream.mp4": Outcome((360, 640), 60, 1.967),
    "ae_test_yuv422p.mp4": Outcome((360, 640), 60, 1.967),
    "ae_testsrc-hevc.mp4": Outcome((360, 640), 60, 1.967),
    "ae_testsrc.mkv": Outcome((360, 640), 60, 1.967),
    "ae_webvtt.mkv": Outcome((200, 300), 40, 1.95),
    "decord_corrupted.mp4": Outcome(
        (720, 1280), 50, 4.9, "PyAV (decord: ", "partial", "2 of 50 packets are damaged"
    ),
    "decord_flipping_a_pancake.mkv": Outcome((240, 426), 310, 10.3),
    "decord_rot0.mov": Outcome((320, 568), 3, 0.067),
    "decord_rot180.mov": Outcome((320, 568), 3, 0.067),
    "decord_rot90.mov": Outcome((568, 320), 3, 0.067),
    "decord_unordered.mov": Outcome((50, 50), 4, 0.094),
    "inspect_video.mp4": Outcome((360, 640), 132, 5.24),
    "mdn_crystal.webm": Outcome((480, 720), 359, 11.933),
    "mdn_rabbit320.mp4": Outcome((240, 320), 234, 7.767),
    "mdn_rabbit320.webm": Outcome((240, 320), 234, 7.767),
    "mpy_big_buck_bunny_432_433.webm": Outcome((720, 1280), 24, 0.958),
    "mpy_no_duration.webm": Outcome((720, 1280), 74, 4.872, "PyAV (decord needs a duration"),
    "skv_bikes.mp4": Outcome((272, 640), 250, 9.96),
    "skv_carphone.mp4": Outcome((144, 176), 120, 3.971),
    "tc_av1_video.mkv": Outcome((360, 640), 125, 4.96, "PyAV (decord does not know AV1"),
    "tc_h264_10bits.mp4": Outcome((200, 200), 30, 0.967, "PyAV (decord gets the colours of 10"),
    "tc_nasa_13013.mp4": Outcome((270, 480), 390, 12.98, "PyAV (decord may choose another of 2"),
}
REFUSED = {"mpy_empty_0byte.webm": "the file is empty; download it again"}


def test_the_table_knows_every_clip():
    assert OUTCOMES.keys() | REFUSED.keys() == {path.name for path in REAL.iterdir()}


@pytest.fixture(scope="module")
def pooled(tmp_path_factory):
    """Name -> what a pool of two processes makes of the clip."""
    pytest.importorskip("decord", reason="decord has no wheel for this platform")
    media = {p.name: (Media(p, p.name),) for p in sorted(REAL.iterdir())}
    settings = MediaSettings(workers=2, seconds=60.0, frames_in_flight=64, decoder="auto")
    quarantine = Quarantine(tmp_path_factory.mktemp("real") / "quarantine.json")
    found = {}
    with DecodePool(tuple(media.values()), SOME, settings, quarantine) as pool:
        for name, one in media.items():
            try:
                found[name] = pool.take(one)
            except MediaError as error:
                found[name] = error
    assert not quarantine.entries
    return found


@pytest.mark.parametrize("name", OUTCOMES)
def test_a_clip_is_read_as_is_to_be_expected(pooled, name):
    expected, found = OUTCOMES[name], pooled[name]
    assert found.frames.shape == (8, *expected.shape, 3)
    assert found.sampling.total == expected.total
    assert found.sampling.times[0] == 0
    assert found.sampling.times[-1] == pytest.approx(expected.last, abs=1e-3)
    assert found.status.reader.startswith(expected.reader)
    assert (found.status.kind, found.status.detail) == (expected.kind, expected.detail)
    assert found.frames.std() > 0 or name == "decord_unordered.mov"


@pytest.mark.parametrize("name", REFUSED)
def test_a_clip_that_is_none_is_refused(pooled, name):
    assert isinstance(pooled[name], MediaError)
    assert pooled[name].reason == REFUSED[name]


@pytest.mark.parametrize("name", [k for k, v in OUTCOMES.items() if v.reader == "decord"])
def test_what_decord_reads_pyav_reads_alike(pooled, name):
    other = read_video(REAL / name, SOME, decoder="pyav")
    np.testing.assert_array_equal(pooled[name].frames, other.frames)
    assert pooled[name].sampling == other.sampling
