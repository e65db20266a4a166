from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.dataset_copy import ABSENT
from merit_opt.data.leakage import SharedMedium, leakage, shown_media
from merit_opt.data.sample import Media, Sample
from tests.suites import made_up


def medium(path, digest, **window):
    return Media(Path(path), digest, **window)


def sample(number, *media, group=None):
    return Sample(str(number), media, "?", ("a", "b"), 0, (), group or f"group {number}")


def shared(one, other):
    return leakage(shown_media(made_up(one, {})), made_up(other, {}))


def test_the_same_content_is_found_wherever_it_lies():
    one = [sample(1, medium("/a/star/ABCDE.mp4", "11")), sample(2, medium("/a/x.mp4", "22"))]
    other = [sample(3, medium("/b/renamed.mkv", "11")), sample(4, medium("/b/renamed.mkv", "11"))]
    assert shared(one, other) == (SharedMedium("renamed", "content", True, ("3", "4")),)


def test_a_name_is_found_without_folder_suffix_and_case():
    one = [sample(1, medium("/a/star/Charades_v1_480/ABCDE.mp4", "11"))]
    other = [sample(2, medium("/b/sta/sta_video/abcde.MKV", "22"))]
    assert shared(one, other) == (SharedMedium("abcde", "name", True, ("2",)),)


def test_a_file_in_a_zip_has_the_name_it_has_there():
    one = [sample(1, Media(Path("/a/videos.zip"), "11", "star/ABCDE.mp4"))]
    other = [sample(2, medium("/b/ABCDE.mp4", "22"))]
    assert [m.name for m in shared(one, other)] == ["ABCDE"]
    assert not shared(one, [sample(2, medium("/b/videos.mp4", "22"))])


def test_a_group_is_a_name_too():
    one = [sample(1, medium("/a/cut_0001.mp4", "11"), group="clevrer/video_10142.mp4")]
    other = [sample(2, medium("/b/video_10142.mp4", "22"))]
    assert [m.name for m in shared(one, other)] == ["video_10142"]


@pytest.mark.parametrize(("name", "told"), [("1", 0), ("00042", 0), ("101420", 1), ("a1", 1)])
def test_a_short_number_is_no_name(name, told):
    one = [sample(1, medium(f"/a/{name}.jpg", "11"))]
    other = [sample(2, medium(f"/b/{name}.jpg", "22"))]
    assert len(shared(one, other)) == told


def test_files_that_are_not_there_have_no_content_in_common():
    one = [sample(1, medium("/a/1.mp4", f"{ABSENT}1.mp4"))]
    other = [sample(2, medium("/b/1.mp4", f"{ABSENT}1.mp4"))]
    assert not shared(one, other)


def test_what_is_the_same_by_content_is_told_once():
    one = [sample(1, medium("/a/ABCDE.mp4", "11"))]
    other = [sample(2, medium("/b/ABCDE.mp4", "11"))]
    assert [m.how for m in shared(one, other)] == ["content"]


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
    assert [m.overlaps for m in shared(one, other)] == [overlaps]


media = st.builds(
    medium,
    st.sampled_from(["a/one.mp4", "b/ONE.mkv", "two.mp4", "3.jpg"]),
    st.sampled_from(["11", "22", f"{ABSENT}x"]),
)
suites = st.lists(st.tuples(media, st.sampled_from(["g/one.mp4", "h"])), max_size=6).map(
    lambda rows: made_up([sample(i, m, group=g) for i, (m, g) in enumerate(rows)], {})
)


@given(suites, suites)
def test_each_side_sees_that_there_is_something_to_see(one, other):
    there, back = leakage(shown_media(one), other), leakage(shown_media(other), one)
    assert bool(there) == bool(back)
    assert any(m.overlaps for m in there) == any(m.overlaps for m in back)


@given(suites)
def test_a_suite_shares_with_itself_all_that_is_there(suite):
    there = {s.id for s in suite.samples if not s.media[0].digest.startswith(ABSENT)}
    assert there <= {i for m in leakage(shown_media(suite), suite) for i in m.samples}


@given(suites, st.randoms(use_true_random=False))
def test_order_does_not_matter(suite, rng):
    searched = list(shown_media(suite))
    rng.shuffle(searched)
    assert leakage(searched, suite) == leakage(shown_media(suite), suite)
