"""Folders of frames, members of zips, and several media shown one after another."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from merit_opt.data.media import unpacked
from merit_opt.data.media.frames import ALL_FRAMES, FramePlan
from merit_opt.data.media.image import Image
from merit_opt.data.media.medium import read_medium
from merit_opt.data.media.status import MediaError
from merit_opt.data.sample import Media
from merit_opt.errors import UserError
from tests.videos import encode, numbers, picture

FOUR = FramePlan("uniform", 4, 1.0)


def folder_of(path: Path, names: list[str], size=(32, 16)) -> Path:
    """Pictures that tell their place in `names`."""
    path.mkdir()
    for place, name in enumerate(names):
        Pillow.fromarray(picture(place, *size)).save(path / name)
    return path


def medium(path, **facts):
    return (Media(path, path.name, **facts),)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_folder_of_frames_is_a_video_at_the_rate_given(tmp_path, suffix):
    names = [f"{i + 1:05d}.{suffix}" for i in range(30)]
    found = read_medium(medium(folder_of(tmp_path / "a", names), fps=3.0), FOUR)
    assert numbers(found.frames) == list(found.sampling.indices) == [0, 10, 19, 29]
    assert found.sampling.times == pytest.approx([0, 10 / 3, 19 / 3, 29 / 3])
    assert (found.sampling.total, found.sampling.fps) == (30, 3.0)
    assert found.status.kind == "ok"


def test_a_window_of_a_folder_of_frames_counts_from_its_first_picture(tmp_path):
    folder = folder_of(tmp_path / "a", [f"{i + 1:05d}.png" for i in range(30)])
    found = read_medium(medium(folder, fps=3.0, start=2.0, end=4.0), ALL_FRAMES)
    assert numbers(found.frames) == [6, 7, 8, 9, 10, 11, 12]


def test_pictures_are_ordered_by_number_and_gaps_are_time(tmp_path):
    folder = folder_of(
        tmp_path / "a", ["frame_2.png", "frame_9.png", "frame_10.png", "frame_100.png"]
    )
    (folder / "notes.txt").write_text("no picture")
    found = read_medium(medium(folder, fps=1.0), ALL_FRAMES)
    assert numbers(found.frames) == [0, 1, 2, 3]
    assert found.sampling.times == (0.0, 7.0, 8.0, 98.0)


def test_pictures_without_numbers_are_ordered_by_name(tmp_path):
    folder = folder_of(tmp_path / "a", ["a.png", "b.png", "c.png"])
    found = read_medium(medium(folder, fps=2.0), ALL_FRAMES)
    assert found.sampling.times == (0.0, 0.5, 1.0)


def test_the_nearest_picture_stands_for_one_that_cannot_be_read(tmp_path):
    folder = folder_of(tmp_path / "a", [f"{i}.png" for i in range(8)])
    (folder / "3.png").write_bytes(b"<html>")
    found = read_medium(medium(folder, fps=1.0), ALL_FRAMES)
    assert numbers(found.frames) == [0, 1, 2, 2, 4, 5, 6, 7]
    assert str(found.status) == "partial: 1 of 8 pictures cannot be read"
    for i in range(5):
        (folder / f"{i}.png").write_bytes(b"")
    with pytest.raises(MediaError, match=r"5 of 8 pictures cannot be read, the first: .*0\.png"):
        read_medium(medium(folder, fps=1.0), ALL_FRAMES)


def test_a_folder_that_is_no_video_is_a_sentence(tmp_path):
    folder = folder_of(tmp_path / "a", ["1.png"])
    with pytest.raises(MediaError, match="a folder of frames without a rate"):
        read_medium(medium(folder), FOUR)
    (folder / "1.png").unlink()
    with pytest.raises(MediaError, match="it holds no picture; unpack the frames into it"):
        read_medium(medium(folder, fps=3.0), FOUR)


def test_pictures_of_another_size_are_letterboxed_to_the_first(tmp_path):
    folder = folder_of(tmp_path / "a", ["1.png", "2.png"], size=(64, 32))
    Pillow.new("RGB", (10, 20), (255, 255, 255)).save(folder / "2.png")
    found = read_medium(medium(folder, fps=1.0), ALL_FRAMES).frames
    assert found.shape == (2, 32, 64, 3)
    assert (found[1, :, 24:40] > 250).all()
    assert (found[1, :, :24] == 0).all()
    assert (found[1, :, 40:] == 0).all()


def zipped(tmp_path, **files):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, file in files.items():
            archive.write(file, f"videos/{name}.{file.suffix[1:]}")
    return path


def test_a_member_of_a_zip_is_read_as_the_file_itself_and_leaves_nothing(tmp_path, monkeypatch):
    video = encode(tmp_path / "a.mp4")
    still = tmp_path / "b.png"
    Pillow.fromarray(picture(5, 32, 16)).save(still)
    archive = zipped(tmp_path, a=video, b=still)
    room = tmp_path / "temporary"
    room.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(room))
    found = read_medium((Media(archive, "0", "videos/a.mp4", start=0.5),), FOUR)
    other = read_medium((Media(video, "0", start=0.5),), FOUR)
    np.testing.assert_array_equal(found.frames, other.frames)
    assert (found.sampling, found.status) == (other.sampling, other.status)
    assert isinstance(read_medium((Media(archive, "0", "videos/b.png"),), FOUR), Image)
    assert list(room.iterdir()) == []


def test_a_member_that_cannot_be_read_is_named_with_its_zip(tmp_path, monkeypatch):
    video = encode(tmp_path / "a.mp4")
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"<html>")
    archive = zipped(tmp_path, a=video, bad=bad)
    for name, reason in (
        ("bad", "not a readable video"),
        ("none", "cannot be unpacked .*none.mp4"),
    ):
        with pytest.raises(MediaError, match=reason) as caught:
            read_medium((Media(archive, "0", f"videos/{name}.mp4"),), FOUR)
        assert caught.value.path == archive / "videos" / f"{name}.mp4"
    monkeypatch.setattr(unpacked, "MEMBER_BYTES", 100)
    with pytest.raises(MediaError, match=r"unpacked it takes 0\.0 GiB, more than 0 GiB"):
        read_medium((Media(archive, "0", "videos/a.mp4"),), FOUR)
    archive.write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(MediaError, match=r"cannot be unpacked .* download the zip again"):
        read_medium((Media(archive, "0", "videos/a.mp4"),), FOUR)


def test_a_member_with_a_wrong_sum_is_a_sentence(tmp_path):
    archive = zipped(tmp_path, a=encode(tmp_path / "a.mp4"))
    content = bytearray(archive.read_bytes())
    content[500] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(MediaError, match=r"cannot be unpacked \(Bad CRC-32"):
        read_medium((Media(archive, "0", "videos/a.mp4"),), FOUR)


def test_a_pair_of_clips_is_one_video_whose_time_goes_on(tmp_path):
    one = encode(tmp_path / "a.mp4", frames=30, fps=30)
    other = encode(tmp_path / "b.mp4", frames=20, fps=10, size=(64, 64))
    pair = medium(one) + medium(other)
    found = read_medium(pair, FOUR)
    alone = [read_medium((m,), FOUR) for m in pair]
    assert found.frames.shape == (8, 64, 128, 3)
    np.testing.assert_array_equal(found.frames[:4], alone[0].frames)
    np.testing.assert_array_equal(found.frames[4:, :, 32:96], alone[1].frames)
    assert (found.frames[4:, :, :32] == 0).all()
    expected = [*alone[0].sampling.times, *(1.0 + t for t in alone[1].sampling.times)]
    assert found.sampling.times == pytest.approx(expected)
    assert (found.sampling.fps, found.sampling.total) == (30.0, 90)
    assert found.sampling.indices == found.sampling.ticks == (0, 10, 19, 29, 30, 48, 69, 87)


def test_an_image_after_a_video_stands_for_a_second(tmp_path):
    still = tmp_path / "b.png"
    Pillow.fromarray(picture(77, 128, 64)).save(still)
    found = read_medium(medium(encode(tmp_path / "a.mp4")) + medium(still), FOUR)
    assert numbers(found.frames)[-1] == 77
    assert found.sampling.times[-1] == pytest.approx(2.0)
    assert found.sampling.total == 90
    assert found.status.reader.endswith("; Pillow")


def test_windows_follow_one_another_without_a_gap(tmp_path):
    video = encode(tmp_path / "a.mp4", frames=150, fps=30)
    windows = medium(video, start=0.0, end=0.5) + medium(video, start=4.0, end=4.5)
    for asked in (windows, windows[::-1]):
        found = read_medium(asked, ALL_FRAMES)
        assert found.sampling.times == pytest.approx([i / 30 for i in range(32)])
        assert (found.sampling.total, found.sampling.indices) == (32, tuple(range(32)))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no file that is full")
def test_a_full_folder_of_temporary_files_is_not_the_fault_of_the_medium(tmp_path, monkeypatch):
    archive = zipped(tmp_path, a=encode(tmp_path / "a.mp4"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    full = Path("/dev/full")
    monkeypatch.setattr("tempfile.TemporaryFile", lambda buffering: full.open("wb", buffering))
    with pytest.raises(UserError, match=rf"into {tmp_path}: No space left .*TMPDIR"):
        read_medium((Media(archive, "0", "videos/a.mp4"),), FOUR)


def test_a_folder_of_temporary_files_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    archive = zipped(tmp_path, a=encode(tmp_path / "a.mp4"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(UserError, match=rf"into {tmp_path / 'absent'}: No such file .*TMPDIR"):
        read_medium((Media(archive, "0", "videos/a.mp4"),), FOUR)


def test_a_folder_of_frames_that_may_not_be_listed_is_a_sentence(tmp_path, monkeypatch):
    folder = folder_of(tmp_path / "a", ["1.png"])

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(MediaError, match="Permission denied; see who may read it"):
        read_medium(medium(folder, fps=1.0), FOUR)


def test_a_picture_that_leads_out_of_its_folder_is_refused(tmp_path):
    folder = folder_of(tmp_path / "a", ["1.png", "2.png"])
    (folder / "3.png").symlink_to(folder / "1.png")
    assert numbers(read_medium(medium(folder, fps=1.0), ALL_FRAMES).frames) == [0, 1, 0]
    (folder / "4.png").symlink_to(folder_of(tmp_path / "b", ["1.png"]) / "1.png")
    with pytest.raises(MediaError, match=r"4\.png is a link out of it"):
        read_medium(medium(folder, fps=1.0), ALL_FRAMES)


def test_pictures_in_the_cache_of_the_hub_lead_to_its_blobs(tmp_path):
    (tmp_path / "snapshots").mkdir()
    blobs = folder_of(tmp_path / "blobs", ["0.png", "1.png"])
    folder = tmp_path / "snapshots" / "f00d" / "a"
    folder.mkdir(parents=True)
    for name in ("0.png", "1.png"):
        (folder / name).symlink_to(blobs / name)
    assert numbers(read_medium(medium(folder, fps=1.0), ALL_FRAMES).frames) == [0, 1]
