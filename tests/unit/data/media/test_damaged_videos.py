import copy
import os
import wave

import av
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from merit_opt.data.media import bounds, video
from merit_opt.data.media.frames import ALL_FRAMES, FramePlan
from merit_opt.data.media.status import MediaError
from merit_opt.data.media.video import read_video
from tests.videos import encode, numbers

SOME = FramePlan("uniform", 8, 1.0)


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


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "joined.mp4"])
def test_a_list_of_other_files_is_no_video(tmp_path, name):
    piece = encode(tmp_path / "piece.ts")
    path = tmp_path / name
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:2.0,\n{piece}\n#EXT-X-ENDLIST\n"
    joined = f"ffconcat version 1.0\nfile {piece.name}\n"
    path.write_text(joined if name.startswith("joined") else playlist)
    with pytest.raises(MediaError, match="not a readable video"):
        read_video(path, ALL_FRAMES)


def test_a_media_error_can_be_rebuilt_as_a_process_border_does(tmp_path):
    error = copy.copy(MediaError(tmp_path / "a.mp4", "gone"))
    assert (error.path, error.reason) == (tmp_path / "a.mp4", "gone")


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
@example(places=[0.796875, 0.9231164620321458])
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
        pytest.importorskip("decord", reason="decord has no wheel for this platform")
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
