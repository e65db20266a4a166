import copy
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data import video
from merit_opt.data.clips.library import clip_library
from merit_opt.data.clips.render import FRAMES_PER_SECOND, render
from merit_opt.data.clips.scene import clip_events
from merit_opt.data.frames import Sampling, frame_indices
from merit_opt.data.video import MediaError, read_video

REAL = Path(__file__).parents[4] / "shared" / "bench_data" / "videos"
READABLE = {
    "decord_rot90.mov": (568, 320),
    "decord_rot180.mov": (320, 568),
    "decord_unordered.mov": (50, 50),
    "tc_nasa_13013.mp4": (270, 480),
    "tc_av1_video.mkv": (360, 640),
    "mpy_no_duration.webm": (720, 1280),
    "ae_h264_plus_png_stream.mp4": (360, 640),
    "ae_testsrc-hevc.mp4": (360, 640),
    "skv_bikes.mp4": (272, 640),
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    cache = tmp_path_factory.mktemp("clips")
    return [c.media.path for c in clip_library(cache=cache, clips=6, seed=5, progress=None)]


@pytest.fixture
def without_decord(monkeypatch):
    monkeypatch.setattr(video, "_decoders", lambda: (video._read_with_av,))


def real(name: str) -> Path:
    if not (REAL / name).exists():
        pytest.skip(f"the real clip {name} is not on this machine")
    return REAL / name


@given(total=st.integers(1, 5000), count=st.integers(1, 600))
def test_indices_are_inside_ascending_and_evenly_spread(total, count):
    indices = frame_indices(total, count)
    assert len(indices) == count
    assert 0 <= indices[0] <= indices[-1] < total
    gaps = np.diff(indices)
    assert count == 1 or (indices[0], indices[-1]) == (0, total - 1)
    assert count == 1 or (gaps.min() >= 0 and gaps.max() - gaps.min() <= 1)


@given(total=st.integers(1, 300))
def test_as_many_frames_as_there_are_is_all_of_them(total):
    assert frame_indices(total, None) == tuple(range(total))
    assert total == 1 or frame_indices(total, total) == frame_indices(total, None)


@pytest.mark.parametrize(("total", "count"), [(0, 4), (0, None), (4, 0), (4, -1)])
def test_no_frames_is_an_error(total, count):
    with pytest.raises(ValueError, match="at least one frame"):
        frame_indices(total, count)


@pytest.mark.parametrize("count", [None, 1, 5, 16, 20])
def test_both_decoders_give_the_same_frames_of_rendered_clips(clips, count):
    pytest.importorskip("decord", reason="decord has no wheel for this platform")
    for path in clips:
        one, other = video._read_with_decord(path, count), video._read_with_av(path, count)
        assert one.frames.dtype == other.frames.dtype == np.uint8
        np.testing.assert_array_equal(one.frames, other.frames)
        assert one.sampling == other.sampling


def test_fewer_frames_are_a_selection_of_all_frames(clips):
    every = read_video(clips[0], None).frames
    some = read_video(clips[0], 5)
    assert some.sampling == Sampling(frame_indices(16, 5), 16, FRAMES_PER_SECOND)
    np.testing.assert_array_equal(some.frames, every[list(frame_indices(16, 5))])


def test_frames_survive_encoding_nearly_unchanged(clips):
    drawn = render(clip_events(seed=5, clip=0), seed=5, clip=0)
    difference = np.abs(read_video(clips[0], None).frames.astype(int) - drawn)
    assert difference.mean() < 4
    assert np.quantile(difference, 0.9) < 12


def test_reading_without_decord_gives_the_same(clips, without_decord):
    pytest.importorskip("decord", reason="decord has no wheel for this platform")
    one, other = read_video(clips[1], 7), video._read_with_decord(clips[1], 7)
    np.testing.assert_array_equal(one.frames, other.frames)
    assert one.sampling == other.sampling


def broken(tmp_path, clip, how):
    path, whole = tmp_path / "clip.mp4", clip.read_bytes()
    contents = {
        "empty": b"",
        "html": b"<html>404 not found</html>",
        "half": whole[: len(whole) // 2],
        "zeros": bytes(len(whole)),
    }
    if how in contents:
        path.write_bytes(contents[how])
    if how == "folder":
        path.mkdir()
    if how == "no frames":
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=8)
            stream.width = stream.height = 56
            stream.pix_fmt = "yuv420p"
            container.start_encoding()
    if how == "sound":
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(8000))
    return path


@pytest.mark.parametrize("decord", ["with decord", "without decord"])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "no such file"),
        ("folder", "no such file"),
        ("empty", "the file is empty; download it again"),
        ("html", "not a readable video .*; replace the file"),
        ("half", "not a readable video .*; replace the file"),
        ("zeros", "not a readable video .*; replace the file"),
        ("no frames", "not a readable video .*; replace the file"),
        ("sound", "not a readable video .*; replace the file"),
    ],
)
def test_a_file_that_is_no_video_is_a_sentence(tmp_path, clips, request, decord, how, message):
    if decord == "without decord":
        request.getfixturevalue("without_decord")
    path = broken(tmp_path, clips[0], how)
    with pytest.raises(MediaError, match=message) as caught:
        read_video(path, None)
    assert caught.value.path == path
    assert caught.value.reason in str(caught.value)


def test_a_media_error_can_be_rebuilt_as_a_process_border_does(tmp_path):
    error = copy.copy(MediaError(tmp_path / "a.mp4", "gone"))
    assert (error.path, error.reason) == (tmp_path / "a.mp4", "gone")


@pytest.mark.parametrize("name", READABLE)
def test_awkward_real_clips_are_read_upright(name):
    frames = read_video(real(name), 4).frames
    assert frames.shape == (4, *READABLE[name], 3)
    assert frames.std() > 0 or name == "decord_unordered.mov"


@pytest.mark.parametrize("name", ["decord_rot90.mov", "decord_rot180.mov", "tc_nasa_13013.mp4"])
def test_decoders_agree_on_rotation_and_choice_of_stream(name):
    pytest.importorskip("decord", reason="decord has no wheel for this platform")
    path = real(name)
    one, other = video._read_with_decord(path, 4), video._read_with_av(path, 4)
    np.testing.assert_array_equal(one.frames, other.frames)


@pytest.mark.parametrize("name", ["decord_corrupted.mp4", "mpy_empty_0byte.webm"])
def test_damaged_real_clips_are_refused(name):
    with pytest.raises(MediaError, match=name):
        read_video(real(name), 8)
