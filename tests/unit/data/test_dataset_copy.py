import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data import dataset_copy as copy_module
from merit_opt.data.dataset_copy import ABSENT, VIDEO_SUFFIXES, DatasetCopy
from merit_opt.data.sample import Cue
from merit_opt.errors import UserError
from merit_opt.files import sampled_digest


@pytest.fixture
def root(tmp_path):
    found = tmp_path / "dataset"
    found.mkdir()
    return found


@pytest.fixture
def copy(root, tmp_path):
    return DatasetCopy(root, tmp_path / "cache")


@pytest.fixture
def outside(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.mp4").write_bytes(b"secret")
    return tmp_path / "outside"


def put(path, content=b"content"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def pack(path, **members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name.replace("__", "/"), content)
    return path


def test_the_first_pattern_that_has_files_is_the_layout(copy, root):
    for name in ("b.json", "a.json", "new/a.json"):
        put(root / name)
    assert copy.find("new/*.json", "*.json") == (root / "new/a.json",)
    assert copy.find("newest/*.json", "*.json") == (root / "a.json", root / "b.json")


def test_a_layout_that_is_not_there_is_a_sentence(copy, root):
    with pytest.raises(UserError, match=r"dataset holds none of x/\*\.json, \*\.csv: give suite"):
        copy.find("x/*.json", "*.csv")


def test_a_layout_that_need_not_be_there_is_no_file(copy, root):
    put(root / "a.json")
    assert copy.optional("x/*.json", "*.csv") == ()
    assert copy.optional("x/*.json", "*.json") == (root / "a.json",)


def test_rows_of_all_tables_follow_one_another_and_json_goes_by_name(copy, root):
    put(root / "b.json", b'[{"n": 2}]')
    put(root / "a.json", b'[{"n": 1}]')
    assert copy.rows("*.json") == ({"n": 1}, {"n": 2})
    assert copy.json("*.json") == {"a": [{"n": 1}], "b": [{"n": 2}]}


def test_a_medium_is_the_first_name_that_is_there_with_what_of_it_is_shown(copy, root):
    path = put(root / "new" / "clip.mp4")
    media = copy.media("old/clip.mp4", "new/clip.mp4", start=1.0, end=2.5, fps=3.0)
    assert (media.path, media.member) == (path, None)
    assert (media.start, media.end, media.fps) == (1.0, 2.5, 3.0)


@pytest.mark.parametrize("suffix", VIDEO_SUFFIXES)
def test_a_video_has_any_of_the_usual_suffixes_in_any_of_its_folders(copy, root, suffix):
    path = put(root / "b" / f"clip{suffix}")
    media = copy.video("a/clip", "b/clip", end=4.0)
    assert (media.path, media.end) == (path, 4.0)


def test_what_is_identical_has_one_digest_wherever_it_lies(copy, root):
    put(root / "a.mp4", b"one")
    put(root / "b.mp4", b"one")
    put(root / "c.mp4", b"two")
    a, b, c = (copy.media(f"{name}.mp4").digest for name in "abc")
    assert a == b != c


def test_a_folder_of_frames_is_a_medium_and_another_frame_is_another_digest(copy, root, tmp_path):
    put(root / "frames" / "00001.jpg", b"1")
    before = copy.media("frames")
    assert (before.path, before.member) == (root / "frames", None)
    put(root / "frames" / "00002.jpg", b"2")
    assert DatasetCopy(root, tmp_path).media("frames").digest != before.digest


def test_a_medium_that_is_nowhere_is_told_by_its_digest_and_refuses_nothing(copy, root):
    media = copy.media("a/clip.mp4", "b/clip.mp4")
    assert media.digest == f"{ABSENT}a/clip.mp4"
    assert not media.path.exists()


@pytest.mark.parametrize(
    "name", ["../outside/secret.mp4", "a/../../outside/secret.mp4", "a/../clip.mp4", ".."]
)
def test_a_name_that_leads_up_is_refused(copy, root, outside, name):
    put(root / "clip.mp4")
    for read in (copy.media, copy.subtitles):
        with pytest.raises(UserError, match=r"leads out of suite.root=.*mend the annotation"):
            read(name)


def test_an_absolute_name_is_refused(copy, outside):
    with pytest.raises(UserError, match="leads out of suite"):
        copy.media(str(outside / "secret.mp4"))


@pytest.mark.parametrize("link", ["file", "folder"])
def test_a_link_out_of_the_folder_is_refused_by_every_reader(copy, root, outside, link):
    target = outside / "secret.mp4" if link == "file" else outside
    (root / "link").symlink_to(target)
    name = "link" if link == "file" else "link/secret.mp4"
    for read in (copy.media, copy.subtitles, copy.find, copy.optional):
        with pytest.raises(
            UserError, match=r"link out of suite.root=.*put there what it leads to"
        ):
            read(name)


def test_a_zip_that_is_a_link_out_is_refused(copy, root, outside):
    pack(outside / "packed.zip", clip="x")
    (root / "packed.zip").symlink_to(outside / "packed.zip")
    with pytest.raises(UserError, match="link out of suite"):
        copy.media("clip")


def test_links_inside_are_followed_and_those_to_nothing_are_absent(copy, root):
    put(root / "real" / "clip.mp4")
    (root / "video").symlink_to(root / "real")
    (root / "torn.mp4").symlink_to(root / "gone.mp4")
    assert copy.media("video/clip.mp4").digest == copy.media("real/clip.mp4").digest
    assert copy.media("torn.mp4").digest.startswith(ABSENT)


def test_a_folder_of_the_hubs_cache_is_read_through_its_links(tmp_path):
    repository = tmp_path / "datasets--acme--set"
    blob = put(repository / "blobs" / "0123")
    snapshot = repository / "snapshots" / "commit"
    snapshot.mkdir(parents=True)
    (snapshot / "clip.mp4").symlink_to(blob)
    (snapshot / "bad.mp4").symlink_to(put(tmp_path / "other"))
    copy = DatasetCopy(snapshot, tmp_path)
    assert not copy.media("clip.mp4").digest.startswith(ABSENT)
    with pytest.raises(UserError, match="link out of"):
        copy.media("bad.mp4")


@pytest.mark.parametrize(
    ("archive", "member", "name"),
    [
        ("videos.zip", "clip.mp4", "clip.mp4"),
        ("videos.zip", "clip.mp4", "videos/clip.mp4"),
        ("videos.zip", "data__clip.mp4", "data/clip.mp4"),
        ("video/star.zip", "star__480__clip.mp4", "video/star/480/clip.mp4"),
        ("video/star.zip", "480__clip.mp4", "video/star/480/clip.mp4"),
        ("a/b/c.zip", "clip.mp4", "a/b/clip.mp4"),
        ("a/b/c.zip", "a__clip.mp4", "a/clip.mp4"),
        ("videos.zip", ".__data__clip.mp4", "data/clip.mp4"),
    ],
)
def test_a_packed_medium_is_found_as_if_it_were_unpacked(copy, root, archive, member, name):
    path = pack(root / archive, **{member: "frames"})
    media = copy.media(name)
    assert (media.path, media.member) == (path, member.replace("__", "/"))
    with zipfile.ZipFile(media.path) as file:
        assert file.read(media.member) == b"frames"


def test_what_is_unpacked_comes_before_what_is_packed(copy, root):
    pack(root / "videos.zip", **{"clip.mp4": "old"})
    path = put(root / "clip.mp4", b"new")
    assert copy.media("clip.mp4").path == path


def test_digests_of_packed_media_are_of_their_content(copy, root):
    pack(root / "a.zip", **{"a.mp4": "one", "b.mp4": "one", "c.mp4": "two"})
    a, b, c = (copy.media(f"{name}.mp4").digest for name in "abc")
    assert a == b != c


def test_a_medium_is_the_same_before_and_after_its_zip_is_unpacked(copy, root, tmp_path):
    path = pack(root / "videos.zip", **{"a.mp4": "one", "b.mp4": "two"})
    before = [copy.media(name).digest for name in ("a.mp4", "b.mp4")]
    with zipfile.ZipFile(path) as file:
        file.extractall(root)
    path.unlink()
    unpacked = DatasetCopy(root, tmp_path)
    assert [unpacked.media(name).digest for name in ("a.mp4", "b.mp4")] == before


def test_of_two_members_of_one_name_the_digest_is_of_the_one_that_is_read(copy, root):
    path = root / "videos.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.mp4", "first")
        with pytest.warns(UserWarning, match="Duplicate name"):
            file.writestr("a.mp4", "last")
        file.writestr("first.mp4", "first")
        file.writestr("last.mp4", "last")
    media = copy.media("a.mp4")
    assert media.digest == copy.media("last.mp4").digest != copy.media("first.mp4").digest
    with zipfile.ZipFile(path) as file:
        assert file.read("a.mp4") == b"last"


@pytest.mark.parametrize("member", ["..__..__outside__secret.mp4", "__etc__passwd"])
def test_a_member_whose_name_leads_out_is_never_found_outside(copy, root, outside, member):
    """It is read from the zip under its own name, and never unpacked to where it points."""
    pack(root / "videos.zip", **{member: "packed", "clip.mp4": "frames"})
    assert copy.media("clip.mp4").member == "clip.mp4"
    assert copy.media("secret.mp4", "outside/secret.mp4").digest.startswith(ABSENT)
    with pytest.raises(UserError, match="leads out"):
        copy.media("../outside/secret.mp4")


def test_a_broken_zip_is_a_sentence_once_something_is_looked_for_in_it(copy, root):
    put(root / "clip.mp4")
    put(root / "torn.zip", b"PK\x03\x04 torn")
    assert copy.media("clip.mp4").path == root / "clip.mp4"
    with pytest.raises(UserError, match=r"torn\.zip is not a whole zip file .*download it again"):
        copy.media("other.mp4")


def test_zips_deep_below_are_not_looked_for(copy, root):
    """A folder of millions of frames is never walked."""
    pack(root / "a" / "b" / "c" / "deep.zip", **{"clip.mp4": "x"})
    assert copy.media("a/b/c/clip.mp4").digest.startswith(ABSENT)


def read_as_text(name, content, offset):
    return (Cue(offset, offset + 1, f"{name}: {content.decode()}"),)


def test_subtitles_are_read_from_disk_or_zip_and_are_none_where_there_are_none(
    copy, root, monkeypatch
):
    monkeypatch.setattr(copy_module, "read_subtitles", read_as_text)
    put(root / "subtitle" / "a.srt", b"on disk")
    pack(root / "subtitle.zip", **{"b.srt": "packed"})
    assert copy.subtitles("x.srt", "subtitle/a.srt") == (Cue(0, 1, "subtitle/a.srt: on disk"),)
    assert copy.subtitles("subtitle/b.srt", offset=2.0) == (Cue(2, 3, "subtitle/b.srt: packed"),)
    assert copy.subtitles("subtitle/c.srt") == ()


@pytest.mark.parametrize("place", ["disk", "zip"])
def test_subtitles_too_large_for_text_are_a_sentence_and_are_not_read(
    copy, root, monkeypatch, place
):
    if place == "disk":
        with (root / "a.srt").open("wb") as file:
            file.truncate(65 * 1024**2)
    else:
        with zipfile.ZipFile(root / "s.zip", "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("a.srt", bytes(65 * 1024**2))
    monkeypatch.setattr(copy_module, "read_subtitles", read_as_text)
    with pytest.raises(UserError, match=r"a\.srt of .* has 65 MiB, and subtitles have at most 64"):
        copy.subtitles("a.srt")


def test_subtitles_of_one_video_are_read_once(copy, root, monkeypatch):
    monkeypatch.setattr(copy_module, "read_subtitles", read_as_text)
    path = put(root / "a.srt", b"first")
    before = copy.subtitles("a.srt")
    path.write_bytes(b"second")
    assert copy.subtitles("a.srt") is before
    assert copy.subtitles("a.srt", offset=1.0) != before


def test_subtitles_in_a_damaged_member_are_a_sentence(copy, root):
    path = pack(root / "s.zip", **{"a.srt": "some text"})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"some text", b"soMe text"))
    with pytest.raises(UserError, match=r"a\.srt of .*dataset cannot be read .*fetch it anew"):
        copy.subtitles("a.srt")


@given(content=st.binary(max_size=50))
def test_a_picture_of_a_table_is_one_file_however_often_it_is_met(tmp_path_factory, content):
    cache = tmp_path_factory.getbasetemp() / "pictures-test"
    copy = DatasetCopy(cache / "root", cache)
    one, other = copy.picture("images/1.PNG", content), copy.picture("2.png", content)
    assert one == other
    assert one.digest == sampled_digest(one.path)
    assert one.path.read_bytes() == content
    assert one.path.suffix == ".png"
    assert one.path.is_relative_to(cache)


def test_a_pictures_name_leads_nowhere(copy):
    media = copy.picture("../../../etc/x.png/../../y", b"pixels")
    assert media.path.parent == copy.cache / "pictures"


def test_a_frame_of_the_same_size_makes_another_folder_of_frames(tmp_path):
    for name, content in (("one", b"abc"), ("other", b"abd")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "00001.jpg").write_bytes(content)
    copy = DatasetCopy(tmp_path, tmp_path / "cache")
    assert copy.media("one").digest != copy.media("other").digest


def test_files_without_content_have_none_in_common(tmp_path):
    for name in ("one.mp4", "other.mp4"):
        (tmp_path / name).touch()
    copy = DatasetCopy(tmp_path, tmp_path / "cache")
    assert all(copy.media(name).digest.startswith(ABSENT) for name in ("one.mp4", "other.mp4"))
