import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merit_opt.data.clips.render import FRAMES_PER_SECOND, render
from merit_opt.data.clips.scene import clip_events
from merit_opt.data.media.frames import ALL_FRAMES, FramePlan, Sampling
from merit_opt.data.media.status import MediaError, MediaStatus, worst
from merit_opt.data.media.video import read_video
from merit_opt.errors import UserError
from tests.videos import KINDS, every_frame, numbers

SOME = FramePlan("uniform", 8, 1.0)


def needs_decord():
    pytest.importorskip("decord", reason="decord has no wheel for this platform")


@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_that_plain_decoding_gives_at_these_places(written, name):
    path, every = written(name), every_frame(written(name))
    assert every == list(range(len(every)))
    for plan in (SOME, ALL_FRAMES, FramePlan("midpoints", 3, 1.0), FramePlan("fps", 99, 7.0)):
        for decoder in ("auto", "pyav"):
            found = read_video(path, plan, decoder=decoder)
            assert numbers(found.frames) == list(found.sampling.indices)
            assert found.sampling.total == len(every)
            assert found.status.kind == "ok"


@pytest.mark.parametrize("name", [k for k in KINDS if k.startswith("uneven")])
def test_frames_of_an_uneven_video_are_chosen_by_their_real_times(written, name):
    stamps = np.array(KINDS[name]["times"])
    stamps = (np.round(stamps * 1000) - round(stamps[0] * 1000)) / 1000
    for decoder in ("auto", "pyav"):
        found = read_video(written(name), SOME, decoder=decoder).sampling
        expected = [np.abs(stamps - t).argmin() for t in np.linspace(0, stamps[-1], 8)]
        assert list(found.indices) == expected
        np.testing.assert_allclose(found.times, stamps[expected], atol=1e-4)
        assert found.fps == pytest.approx(59 / stamps[-1], rel=0.02)
        np.testing.assert_allclose(
            np.array(found.ticks) / found.fps, found.times, atol=0.51 / found.fps
        )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    name=st.sampled_from(["h264.mp4", "h264.mkv", "vp8.webm", "vp9.webm", "uneven.mp4"]),
    plan=st.builds(
        FramePlan, st.sampled_from(["uniform", "midpoints"]), st.integers(1, 20), st.just(1.0)
    ),
    window=st.tuples(st.none() | st.floats(0, 1.5), st.none() | st.floats(3, 9)),
)
def test_both_readers_give_the_same_pixels(written, name, plan, window):
    needs_decord()
    one, other = (read_video(written(name), plan, *window, decoder=d) for d in ("decord", "pyav"))
    np.testing.assert_array_equal(one.frames, other.frames)
    assert one.sampling.indices == other.sampling.indices
    np.testing.assert_allclose(one.sampling.times, other.sampling.times, atol=1e-5)


@pytest.mark.parametrize(
    "plan", [ALL_FRAMES, *(FramePlan("uniform", n, 1.0) for n in (1, 5, 16, 20))]
)
def test_both_readers_give_the_same_frames_of_rendered_clips(clips, plan):
    needs_decord()
    for path in clips:
        one, other = (read_video(path, plan, decoder=d) for d in ("decord", "pyav"))
        assert one.frames.dtype == other.frames.dtype == np.uint8
        np.testing.assert_array_equal(one.frames, other.frames)
        assert one.sampling == other.sampling


def test_fewer_frames_are_a_selection_of_all_frames(clips):
    every = read_video(clips[0], ALL_FRAMES).frames
    some = read_video(clips[0], FramePlan("uniform", 5, 1.0))
    places = (0, 4, 8, 11, 15)
    times = tuple(i / FRAMES_PER_SECOND for i in places)
    assert some.sampling == Sampling(places, 16, FRAMES_PER_SECOND, times)
    np.testing.assert_array_equal(some.frames, every[list(places)])


def test_frames_survive_encoding_nearly_unchanged(clips):
    drawn = render(clip_events(seed=5, clip=0), seed=5, clip=0)
    difference = np.abs(read_video(clips[0], ALL_FRAMES).frames.astype(int) - drawn)
    assert difference.mean() < 4
    assert np.quantile(difference, 0.9) < 12


def test_without_decord_pyav_reads_the_same(clips, without_decord):
    needs_decord()
    plan = FramePlan("uniform", 7, 1.0)
    one, other = read_video(clips[1], plan), read_video(clips[1], plan, decoder="decord")
    np.testing.assert_array_equal(one.frames, other.frames)
    assert one.sampling == other.sampling
    assert (one.status.reader, other.status.reader) == ("PyAV (decord is not installed)", "decord")


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("h264.mp4", "decord"),
        ("vp9.webm", "decord"),
        ("uneven.mp4", "decord"),
        ("h264.ts", "PyAV (decord seeks to other frames in mpegts)"),
        ("h264.avi", "PyAV (decord seeks to other frames in avi)"),
        ("av1.mkv", "PyAV (decord does not know AV1)"),
        ("10 bits.mp4", "PyAV (decord gets the colours of 10 bits wrong)"),
        (
            "open groups.mkv",
            "PyAV (decord shows other frames where groups of pictures are open)",
        ),
    ],
)
def test_who_read_it_and_why_is_told(written, name, reader):
    needs_decord()
    assert read_video(written(name), SOME).status == MediaStatus("ok", reader)


def test_a_decoder_that_is_chosen_reads_alone(written):
    needs_decord()
    with pytest.raises(MediaError, match=r"not a readable video \(.*video stream"):
        read_video(written("av1.mkv"), SOME, decoder="decord")
    assert read_video(written("h264.mp4"), SOME, decoder="pyav").status.reader == "PyAV"


def test_a_decoder_that_is_not_installed_is_a_sentence(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    with pytest.raises(
        UserError, match=r"engine\.decoder=torchcodec cannot be used .*pip install"
    ):
        read_video(written("h264.mp4"), SOME, decoder="torchcodec")


@pytest.mark.parametrize("kind", ["ImportError", "OSError"])
def test_a_decord_that_cannot_be_loaded_leaves_its_videos_to_pyav(
    written, monkeypatch, tmp_path, kind
):
    (tmp_path / "decord.py").write_text(f"raise {kind}('libdecord.so: no such file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "decord", raising=False)
    status = read_video(written("h264.mp4"), SOME).status
    told = "libdecord.so: no such file"
    assert status == MediaStatus("ok", f"PyAV (decord cannot be loaded: {told})")
    with pytest.raises(UserError, match=rf"engine\.decoder=decord cannot be used \({told}\)"):
        read_video(written("h264.mp4"), SOME, decoder="decord")


def test_torchcodec_reads_what_its_decoder_gives(written, monkeypatch):
    class Decoder:
        def __init__(self, path, **options):
            assert options == {
                "dimension_order": "NHWC",
                "num_ffmpeg_threads": 1,
                "seek_mode": "exact",
            }
            self.frames = read_video(Path(path), ALL_FRAMES, decoder="pyav").frames
            self.metadata = SimpleNamespace(num_frames=len(self.frames))

        def get_frames_at(self, indices):
            return SimpleNamespace(data=torch.from_numpy(self.frames[indices]))

    fake = SimpleNamespace(VideoDecoder=Decoder)
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", fake)
    monkeypatch.setitem(sys.modules, "torchcodec", SimpleNamespace(decoders=fake))
    found = read_video(written("uneven.mp4"), SOME, decoder="torchcodec")
    other = read_video(written("uneven.mp4"), SOME, decoder="pyav")
    np.testing.assert_array_equal(found.frames, other.frames)
    assert found.sampling == other.sampling
    assert found.status == MediaStatus("ok", "torchcodec")


def turned(source, path, quarters):
    """The same file, to be shown turned by so many quarters clockwise."""
    cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[quarters]
    matrix = (cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30)
    content = source.read_bytes()
    place = content.index(b"tkhd") + 4 + 40
    path.write_bytes(content[:place] + struct.pack(">9i", *matrix) + content[place + 36 :])
    return path


@pytest.mark.parametrize("decoder", ["auto", "pyav"])
@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_frames_are_upright(written, tmp_path, quarters, decoder):
    source = written("h264.mp4")
    flat = read_video(source, SOME, decoder=decoder).frames
    found = read_video(turned(source, tmp_path / "a.mp4", quarters), SOME, decoder=decoder).frames
    np.testing.assert_array_equal(found, np.rot90(flat, -quarters, axes=(1, 2)))


def test_the_worst_of_several_statuses_names_every_reader_and_detail():
    one, other = (
        MediaStatus("partial", "PyAV", "2 packets"),
        MediaStatus("truncated", "decord", "cut"),
    )
    assert worst([one, other, other]) == MediaStatus("partial", "PyAV; decord", "2 packets; cut")
    assert str(one) == "partial: 2 packets"


def test_a_window_beyond_the_end_is_of_another_cut(written):
    path = written("h264.mp4")
    length = read_video(path, ALL_FRAMES).sampling.seconds
    with pytest.raises(MediaError, match=r"is asked about from \d+ s on: another cut of it"):
        read_video(path, SOME, start=round(length) + 100, end=round(length) + 110)
    reaching = read_video(path, SOME, start=0.0, end=length + 30)
    assert reaching.status.kind == "truncated"
    assert "is asked about until" in reaching.status.detail
    assert read_video(path, SOME, start=0.0, end=length + 0.5).status.kind == "ok"
