import os
import struct
import sys
import wave
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merit_opt.data.clips.library import clip_library
from merit_opt.data.clips.render import FRAMES_PER_SECOND, render
from merit_opt.data.clips.scene import clip_events
from merit_opt.data.media import bounds, video
from merit_opt.data.media.frames import ALL_FRAMES, FramePlan, Sampling
from merit_opt.data.media.status import MediaError, MediaStatus
from merit_opt.data.media.video import read_video
from merit_opt.errors import UserError
from tests.videos import encode, every_frame, numbers

SOME = FramePlan("uniform", 8, 1.0)
KINDS = {
    "h264.mp4": {},
    "h264.mkv": {"gop": 40},
    "h264.avi": {"options": {"bf": "2"}},
    "h264.ts": {},
    "mpeg2.ts": {"codec": "mpeg2video"},
    "mpeg4.avi": {"codec": "mpeg4"},
    "hevc.mp4": {"codec": "libx265", "gop": 20},
    "vp8.webm": {"codec": "libvpx", "gop": 30},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "av1.mkv": {"codec": "libsvtav1"},
    "10 bits.mp4": {"pixels": "yuv420p10le"},
    "444.mp4": {"pixels": "yuv444p"},
    "uneven.mp4": {"times": np.cumsum(np.random.default_rng(0).uniform(0.02, 0.4, 60))},
    "uneven.webm": {
        "codec": "libvpx-vp9",
        "times": np.cumsum(np.random.default_rng(1).uniform(0.02, 0.4, 60)),
    },
    "open groups.mkv": {"options": {"x264-params": "open-gop=1:scenecut=0:b-adapt=0"}},
    "mpeg2.mkv": {"codec": "mpeg2video", "options": {"bf": "2"}},
    "odd size.mp4": {"size": (131, 67), "pixels": "yuv444p"},
    "one frame.mp4": {"frames": 1},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    cache = tmp_path_factory.mktemp("clips")
    return [c.media.path for c in clip_library(cache=cache, clips=6, seed=5, progress=None)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A video of `KINDS` by its name, encoded once."""
    folder, found = tmp_path_factory.mktemp("videos"), {}

    def write(name):
        if name not in found:
            found[name] = encode(folder / name, **KINDS[name])
        return found[name]

    return write


@pytest.fixture
def without_decord(monkeypatch):
    monkeypatch.setattr(video, "has_decord", lambda: False)


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
    window=st.tuples(st.none() | st.floats(0, 3), st.none() | st.floats(3, 9)),
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
    if how == "pipe":
        os.mkfifo(path)
    if how == "device":
        path.symlink_to("/dev/zero")
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
    if how == "one pixel":
        encode(path, codec="libx264rgb", pixels="rgb24", size=(1, 1), frames=3)
    return path


@pytest.mark.parametrize("decord", ["with decord", "without decord"])
@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing", "no such file"),
        ("folder", "a folder, where a file was expected"),
        ("pipe", "no regular file"),
        ("device", "no regular file"),
        ("empty", "the file is empty; download it again"),
        ("html", "not a readable video .*; replace the file"),
        ("half", "not a readable video .*; replace the file"),
        ("zeros", "not a readable video .*; replace the file"),
        ("no frames", "not a readable video .*; replace the file"),
        ("sound", "not a readable video .*; replace the file"),
        ("one pixel", "its frames are 1x1 pixels, too small to show anything"),
    ],
)
def test_a_file_that_is_no_video_is_a_sentence(tmp_path, clips, request, decord, how, message):
    if decord == "without decord":
        request.getfixturevalue("without_decord")
    path = broken(tmp_path, clips[0], how)
    with pytest.raises(MediaError, match=message) as caught:
        read_video(path, ALL_FRAMES)
    assert caught.value.path == path
    assert caught.value.reason in str(caught.value)


@pytest.mark.parametrize("kind", ["vp8.webm", "h264.mkv"])
def test_a_file_that_breaks_off_is_used_and_called_truncated(written, tmp_path, kind):
    whole = written(kind).read_bytes()
    path = tmp_path / kind
    path.write_bytes(whole[: len(whole) * 6 // 10])
    for decoder in ("auto", "pyav"):
        found = read_video(path, SOME, decoder=decoder)
        assert found.status.kind in ("truncated", "partial")
        assert found.status.detail.endswith("of the 2.0 s that it declares")
        assert numbers(found.frames) == [round(t * 30) for t in found.sampling.times]
        assert 10 < found.sampling.total < 60


def damaged(path, whole, places):
    content = bytearray(whole)
    for place in places:
        content[int(place * len(content))] ^= 0xFF
    path.write_bytes(content)
    return path


def test_damaged_packets_are_stepped_over_and_counted(tmp_path):
    whole = encode(tmp_path / "whole.mp4", options={"x264-params": "nal-hrd=none"}).read_bytes()
    with av.open(str(tmp_path / "whole.mp4")) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    victim = packets[20]
    content = bytearray(whole)
    content[victim.pos : victim.pos + 4] = b"\xff\xff\xff\xff"  # an impossible length of its unit
    (tmp_path / "bad.mp4").write_bytes(content)
    found = read_video(tmp_path / "bad.mp4", ALL_FRAMES)
    assert found.status.kind == "partial"
    assert found.status.detail == "1 of 60 packets are damaged"
    assert found.status.reader.startswith("PyAV")
    assert len(found.frames) == found.sampling.total == 60
    assert list(found.sampling.indices) == sorted(found.sampling.indices)
    assert len(set(found.sampling.indices)) >= 58


@given(places=st.lists(st.floats(0, 0.999), min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_whatever_bytes_are_damaged_it_is_a_video_or_a_sentence(written, tmp_path, places):
    path = damaged(tmp_path / "a.mp4", written("h264.mp4").read_bytes(), places)
    try:
        found = read_video(path, SOME, decoder="pyav")
    except MediaError:
        return
    assert found.frames.shape[0] == len(found.sampling.indices) == len(found.sampling.times) == 8
    assert list(found.sampling.times) == sorted(found.sampling.times)


def test_most_of_it_damaged_is_a_failure(tmp_path):
    path = encode(tmp_path / "a.mp4", gop=60)
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    content = bytearray(path.read_bytes())
    for packet in packets[10:]:
        content[packet.pos : packet.pos + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(MediaError, match="50 of 60 packets cannot be decoded"):
        read_video(path, ALL_FRAMES)


def test_more_than_memory_should_hold_is_refused_before_it_is_decoded(written, monkeypatch):
    def never(*_):
        pytest.fail("something was decoded")

    monkeypatch.setattr(video, "take_with_av", never)
    monkeypatch.setattr(bounds, "FRAME_BYTES", 1000)
    with pytest.raises(
        MediaError, match=r"its frames are 128x64 pixels, 0 MiB each and more than"
    ):
        read_video(written("av1.mkv"), SOME)


@pytest.mark.parametrize("decoder", ["decord", "pyav"])
def test_too_many_frames_are_refused_with_what_to_do(written, monkeypatch, decoder):
    if decoder == "decord":
        needs_decord()
    monkeypatch.setattr(bounds, "TOTAL_BYTES", 9 * 128 * 64 * 3)
    assert len(read_video(written("h264.mp4"), SOME, decoder=decoder).frames) == 8
    with pytest.raises(
        MediaError, match=r"60 frames of 128x64 pixels take .*ask for fewer frames"
    ):
        read_video(written("h264.mp4"), ALL_FRAMES, decoder=decoder)


def test_a_header_of_three_hours_does_not_decide_how_many_frames_there_are(tmp_path):
    path = encode(tmp_path / "long.mp4", frames=3, times=[0.0, 1.0, 10_800.0])
    assert len(read_video(path, ALL_FRAMES).frames) == 3
    found = read_video(path, FramePlan("fps", 4, 1.0))
    assert found.sampling.times == (0.0, 1.0, 10_800.0, 10_800.0)


def test_all_frames_of_a_long_video_are_refused_before_one_is_decoded(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", frames=200)
    monkeypatch.setattr(video, "READERS", {})
    monkeypatch.setattr(bounds, "TOTAL_BYTES", 100 * 128 * 64 * 3)
    with pytest.raises(MediaError, match="200 frames of 128x64 pixels take"):
        read_video(path, ALL_FRAMES, decoder="pyav")
