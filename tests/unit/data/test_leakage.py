from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.copy import ABSENT
from merit_opt.data.leakage import SharedMedium, leakage
from merit_opt.data.sample import Media, Sample
from tests.suites import made_up


def medium(path, digest, **window):
    return Media(Path(path), digest, **window)


def sample(number, *media, group=None):
    return Sample(str(number), media, "?", ("a", "b"), 0, (), group or f"group {number}")


def shared(one, other):
    return leakage(made_up(one, {}), made_up(other, {}))


def test_the_same_content_is_found_wherever_it_lies():
    one = [sample(1, medium("/a/star/ABCDE.mp4", "11")), sample(2, medium("/a/x.mp4", "22"))]
    other = [sample(3, medium("/b/renamed.mkv", "11")), sample(4, medium("/b/renamed.mkv", "11"))]
    found = shared(one, other)
    assert found.media == (SharedMedium("ABCDE", "content", True, ("1",), ("3", "4")),)
    assert (found.samples_of_one, found.samples_of_other) == (1, 2)


def test_a_name_is_found_without_folder_suffix_and_case():
    one = [sample(1, medium("/a/star/Charades_v1_480/ABCDE.mp4", "11"))]
    other = [sample(2, medium("/b/sta/sta_video/abcde.MKV", "22"))]
    assert shared(one, other).media == (SharedMedium("abcde", "name", True, ("1",), ("2",)),)


def test_a_file_in_a_zip_has_the_name_it_has_there():
    one = [sample(1, Media(Path("/a/videos.zip"), "11", "star/ABCDE.mp4"))]
    other = [sample(2, medium("/b/ABCDE.mp4", "22"))]
    assert [m.name for m in shared(one, other).media] == ["abcde"]
    assert not shared(one, [sample(2, medium("/b/videos.mp4", "22"))]).media


def test_a_group_is_a_name_too():
    one = [sample(1, medium("/a/cut_0001.mp4", "11"), group="clevrer/video_10142.mp4")]
    other = [sample(2, medium("/b/video_10142.mp4", "22"))]
    assert [m.name for m in shared(one, other).media] == ["video_10142"]


@pytest.mark.parametrize(("name", "told"), [("1", 0), ("0042", 0), ("10142", 1), ("a1", 1)])
def test_a_short_number_is_no_name(name, told):
    one = [sample(1, medium(f"/a/{name}.jpg", "11"))]
    other = [sample(2, medium(f"/b/{name}.jpg", "22"))]
    assert len(shared(one, other).media) == told


def test_files_that_are_not_there_have_no_content_in_common():
    one = [sample(1, medium("/a/1.mp4", f"{ABSENT}1.mp4"))]
    other = [sample(2, medium("/b/1.mp4", f"{ABSENT}1.mp4"))]
    assert not shared(one, other).media


def test_what_is_the_same_by_content_is_told_once():
    one = [sample(1, medium("/a/ABCDE.mp4", "11"))]
    other = [sample(2, medium("/b/ABCDE.mp4", "11"))]
    assert [m.how for m in shared(one, other).media] == ["content"]


@pytest.mark.parametrize(
    ("first", "second", "overlaps"),
    [
        ({}, {}, True),
        ({"end": 5.0}, {"start": 5.0}, False),
        ({"start": 1.0, "end": 5.0}, {"start": 4.0, "end": 9.0}, True),
        ({"start": 6.0}, {"end": 5.0}, False),
        ({"start": 6.0}, {"start": 1.0}, True),
    ],
)
def test_windows_of_one_file_may_have_no_second_in_common(first, second, overlaps):
    one = [sample(1, medium("/a/x.mp4", "11", **first))]
    other = [sample(2, medium("/b/y.mp4", "11", **second))]
    assert [m.overlaps for m in shared(one, other).media] == [overlaps]


media = st.builds(
    medium,
    st.sampled_from(["a/one.mp4", "b/ONE.mkv", "two.mp4", "3.jpg"]),
    st.sampled_from(["11", "22", f"{ABSENT}x"]),
)
suites = st.lists(st.tuples(media, st.sampled_from(["g/one.mp4", "h"])), max_size=6).map(
    lambda rows: made_up([sample(i, m, group=g) for i, (m, g) in enumerate(rows)], {})
)


@given(suites, suites)
def test_each_side_sees_what_the_other_sees(one, other):
    there, back = leakage(one, other), leakage(other, one)
    assert (there.samples_of_one, there.samples_of_other) == (
        back.samples_of_other,
        back.samples_of_one,
    )
    assert {(m.how, m.overlaps, m.one, m.other) for m in there.media} == {
        (m.how, m.overlaps, m.other, m.one) for m in back.media
    }


@given(suites)
def test_a_suite_shares_with_itself_all_that_is_there(suite):
    there = {s.id for s in suite.samples if not s.media[0].digest.startswith(ABSENT)}
    told = leakage(suite, suite).media
    assert there <= {i for m in told for i in m.one}
