import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.sample import Cue
from merit_opt.data.subtitles import cues_at, read_subtitles
from merit_opt.errors import UserError

SRT = (
    '1\n00:00:01,000 --> 00:00:02,500\n<font color="white" size=".72c">hello</font>\n'
    "<i>there</i>\n\n2\n01:00:03,000 --> 01:00:04,250\nI <3 you &amp; {\\an8}me\n\n"
)
READ = (Cue(1.0, 2.5, "hello there"), Cue(3603.0, 3604.25, "I <3 you & me"))


def test_markup_is_taken_off_and_lines_are_joined():
    assert read_subtitles("a.srt", SRT.encode(), 0.0) == READ


@pytest.mark.parametrize(
    "content",
    [
        SRT.replace("\n", "\r\n").encode("utf-8-sig"),
        SRT.replace("\n", "\r").encode(),
        SRT.encode("utf-16"),
        b"\xff\xfe" + SRT.encode("utf-16-le"),
        b"\xfe\xff" + SRT.encode("utf-16-be"),
        SRT.rstrip().encode(),
    ],
    ids=["CRLF with mark", "CR", "UTF-16", "little endian", "big endian", "no last line end"],
)
def test_how_a_file_is_encoded_makes_no_difference(content):
    assert read_subtitles("a.srt", content, 0.0) == READ


def test_what_is_no_utf_8_is_read_as_windows_writes_it():
    content = "1\n00:00:01,000 --> 00:00:02,000\nNaïf — où ?\n".encode("cp1252")
    assert read_subtitles("a.srt", content, 0.0) == (Cue(1.0, 2.0, "Naïf — où ?"),)


def test_webvtt_has_headers_notes_names_and_settings():
    text = (
        "WEBVTT Kind: captions\n\nNOTE\nnot 1 --> 2\n\nSTYLE\n::cue {}\n\nfirst\n"
        "00:01.000 --> 00:02.000 align:start position:0%\n<v Ann>one<00:00:01.500><c> two</c>\n\n"
        "1:00:00.000 --> 1:00:01.000\n \nthree\n"
    )
    assert read_subtitles("a.vtt", text.encode(), 0.0) == (
        Cue(1.0, 2.0, "one two"),
        Cue(3600.0, 3601.0, "three"),
    )


def test_both_shapes_of_json_are_read_and_one_without_an_end_lasts():
    rows = [
        {"start": "00:00:01.200", "end": "00:01:03.000", "line": "a"},
        {"timestamp": [2.5, 4], "text": "b"},
        {"timestamp": [5, None], "text": "c"},
    ]
    assert read_subtitles("x_en.json", json.dumps(rows).encode(), 0.0) == (
        Cue(1.2, 63.0, "a"),
        Cue(2.5, 4.0, "b"),
        Cue(5.0, float("inf"), "c"),
    )


def test_an_offset_is_taken_off_and_what_has_ended_is_dropped():
    rows = [{"timestamp": [a, a + 2.0], "text": str(a)} for a in (8.0, 9.1, 10.2, 7.0)]
    assert read_subtitles("x.json", json.dumps(rows).encode(), 10.0) == (
        Cue(0.0, 1.1, "9.1"),
        Cue(0.2, 2.2, "10.2"),
    )


def test_cues_come_in_order_of_time():
    rows = [{"timestamp": [a, 9.0], "text": str(a)} for a in (3.0, 1.0, 2.0)]
    found = read_subtitles("x.json", json.dumps(rows).encode(), 0.0)
    assert [cue.start for cue in found] == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "damaged",
    [
        "00:00:09,000 --> 00:00:08,000\nback in time\n\n",
        "00:00:09,000 -> 00:00:10,000\nno arrow\n\n",
        "00:00:05,000 --> 00:00:06,000\n\n",
        "00:00:05,000 --> 00:00:06,000\n<i></i>\n\n",
        "9:99 --> x\nno times\n\n",
    ],
)
def test_damaged_cues_are_skipped(damaged):
    assert read_subtitles("a.srt", f"{damaged}{SRT}".encode(), 0.0) == READ


def test_a_missing_empty_line_costs_no_cue():
    text = "1\n00:00:01,000 --> 00:00:02,000\na\n2\n00:00:03,000 --> 00:00:04,000\nb\n"
    assert [cue.text for cue in read_subtitles("a.srt", text.encode(), 0.0)] == ["a", "b"]


@pytest.mark.parametrize("row", [7, {}, {"timestamp": ["x", 2], "text": "a"}, {"timestamp": [1]},
                                 {"start": "00:00:01", "line": 3}, {"timestamp": [1, 2]},
                                 {"timestamp": [float("nan"), 2.0], "text": "a"}])  # fmt: skip
def test_damaged_rows_of_json_are_skipped(row):
    rows = [row, {"timestamp": [1.0, 2.0], "text": "kept"}]
    found = read_subtitles("x.json", json.dumps(rows).encode(), 0.0)
    assert found == (Cue(1.0, 2.0, "kept"),)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.srt", b"<html>Not found</html>"),
        ("a.srt", b"\x89PNG\r\n\x1a\n\x00\x00"),
        ("a.json", b"1\n00:00:01,000 --> 00:00:02,000\na\n"),
        ("a.json", b'{"error": "gone"}'),
        ("a.json", b'[{"no": "cue"}]'),
        ("a.json", b"[" * 100_000),
        ("a.json", b'[{"timestamp": [1' + b"0" * 400 + b', 2], "text": "a"}]'),
        ("a.srt", b"9" * 9000 + b":00:01,000 --> 00:00:02,000\na"),
    ],
)
def test_a_file_without_any_cue_is_refused_by_name(name, content):
    with pytest.raises(UserError, match=rf"^{name} is no table of subtitles: .*download it again"):
        read_subtitles(name, content, 0.0)


@pytest.mark.parametrize(
    ("name", "content"), [("a.srt", b""), ("a.srt", b"\n \n"), ("a.vtt", b"WEBVTT\n"), ("a.json", b"[]")]
)  # fmt: skip
def test_a_video_in_which_nobody_speaks_has_no_cues(name, content):
    assert read_subtitles(name, content, 0.0) == ()


@given(content=st.binary(max_size=200), name=st.sampled_from(["a.srt", "a.vtt", "a.json"]))
def test_junk_is_refused_or_read_and_never_breaks(content, name):
    try:
        cues = read_subtitles(name, content, 0.0)
    except UserError:
        cues = ()
    assert all(0.0 <= cue.start < cue.end and cue.text.strip() for cue in cues)


def test_cues_at_the_frames_come_once_each_in_their_order():
    cues = (Cue(0.0, 1.0, "a"), Cue(1.0, 2.0, "b"), Cue(1.5, 9.0, "c"), Cue(20.0, 21.0, "d"))
    assert cues_at(cues, (8.0, 1.5, 1.9, 1.0)) == (cues[1], cues[2])
    assert cues_at(cues, ()) == ()


@given(
    st.lists(st.tuples(st.floats(0, 50), st.floats(0.01, 20)), max_size=8),
    st.lists(st.floats(0, 70), max_size=4),
    st.lists(st.floats(0, 70), max_size=4),
)
def test_more_frames_show_the_cues_of_each(spans, some, others):
    cues = tuple(Cue(start, start + length, str(i)) for i, (start, length) in enumerate(spans))
    either = {*cues_at(cues, some), *cues_at(cues, others)}
    assert cues_at(cues, [*others, *some]) == tuple(cue for cue in cues if cue in either)
