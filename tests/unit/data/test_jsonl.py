import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merit_opt.data import dataset_copy as copies
from merit_opt.data.dataset_copy import ABSENT
from merit_opt.data.question_line import FIELDS
from merit_opt.data.sample import YES_NO, Cue, Number
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from tests.suites import jsonl as suite

LINE = {
    "id": "q1",
    "media": "a.mp4",
    "question": "What comes first?",
    "options": ["red", "blue"],
    "answer": "B",
    "role": "TR",
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"not looked at here")
    (tmp_path / "b.mp4").write_bytes(b"nor this")
    (tmp_path / "shots").mkdir()
    (tmp_path / "shots" / "1.jpg").write_bytes(b"nor this one")
    return tmp_path


def written(folder, *lines):
    path = folder / "mine.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return path


def one(folder, scorer="letter_logprob", **changed):
    line = {key: value for key, value in {**LINE, **changed}.items() if value is not None}
    (sample,) = suite(written(folder, line), scorer=scorer).samples
    return sample


def problem(folder, **changed):
    with pytest.raises(UserError) as caught:
        one(folder, **changed)
    return str(caught.value)


def test_a_line_is_a_sample(folder):
    found = suite(written(folder, LINE))
    (sample,) = found.samples
    assert (sample.id, sample.question, sample.options) == (
        "q1",
        LINE["question"],
        ("red", "blue"),
    )
    assert (sample.answer, sample.group_id) == (1, "a.mp4")
    assert found.role(sample) == "TR"
    assert (found.name, found.asking.frames.count) == ("mine", 8)
    assert sample.media[0].path == folder / "a.mp4"
    assert not sample.media[0].digest.startswith(ABSENT)


@pytest.mark.parametrize(
    ("options", "answer", "read"),
    [
        (["red", "blue"], 1, (("red", "blue"), 1)),
        (["red", "blue"], "B", (("red", "blue"), 1)),
        (["red", "blue"], "blue", (("red", "blue"), 1)),
        (["A", "B"], "B", (("A", "B"), 1)),
        (None, "Yes", (YES_NO, 0)),
        (["yes", "no"], "no", (YES_NO, 1)),
    ],
)
def test_a_right_answer_is_an_index_a_letter_or_an_options_text(folder, options, answer, read):
    sample = one(folder, options=options, answer=answer)
    assert (sample.options, sample.answer) == read


@pytest.mark.parametrize(
    ("answer", "number"),
    [(3, Number(3.0, 0.0)), ({"value": -2.5, "tolerance": 0.1}, Number(-2.5, 0.1))],
)
def test_a_number_has_a_tolerance(folder, answer, number):
    assert one(folder, scorer="generate", options=None, answer=answer).answer == number


def test_a_number_is_left_out_where_no_answer_is_generated(folder):
    found = suite(written(folder, LINE, {**LINE, "id": "q2", "options": None, "answer": 3}))
    assert [s.id for s in found.samples] == ["q1"]
    assert found.left_out.keys() == {"q2"}


def test_media_have_a_window_and_folders_of_frames_a_rate(folder):
    media = [{"path": "a.mp4", "start": 1, "end": 2.5}, {"path": "shots", "fps": 3}]
    first, second = one(folder, media=media).media
    assert (first.start, first.end, second.fps) == (1.0, 2.5, 3.0)


def test_roles_are_of_a_category_that_is_named(folder):
    lines = [
        {**LINE, "id": i, "role": None, "categories": {"kind": kind, "length": "3"}}
        for i, kind in enumerate(("order", "content", "sound"))
    ]
    path = written(folder, *({k: v for k, v in r.items() if v is not None} for r in lines))
    found = suite(path, role_field="kind", roles={"TR": ("order",), "TP": ("content",)})
    assert [found.role(s) for s in found.samples] == ["TR", "TP", "other"]
    assert found.samples[0].category("length") == "3"


def test_evidence_is_read(folder):
    assert one(folder, evidence=[[0, 1.5], [3, 4]]).evidence == ((0.0, 1.5), (3.0, 4.0))
    assert one(folder).evidence == ()


def test_subtitles_are_read(folder, monkeypatch):
    (folder / "a.srt").write_text("anything")
    monkeypatch.setattr(copies, "read_subtitles", lambda *_: (Cue(0.0, 1.0, "hello"),))
    assert one(folder, subtitles="a.srt").subtitles == (Cue(0.0, 1.0, "hello"),)


def test_a_file_that_is_not_there_is_counted_when_it_is_asked_about(folder):
    assert one(folder, media="gone.mp4").media[0].digest.startswith(ABSENT)


def test_media_lie_under_another_root(folder):
    path = folder / "questions" / "mine.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(LINE))
    found = suite(path, root=folder)
    assert found.samples[0].media[0].path == folder / "a.mp4"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"question": None}, "line 1: `question` is missing"),
        ({"question": " "}, "`question` is to be a text, not ' '"),
        ({"question": 3}, "`question` is to be a text, not 3"),
        ({"question": "half \ud800"}, "`question` holds half a character"),
        ({"qestion": "What?"}, "'qestion' is not known; did you mean `question`?"),
        ({"media": []}, "`media` is to name one file at least"),
        ({"media": 3}, "`media` is a path or an object with one, not 3"),
        ({"media": {"file": "a.mp4"}}, "`media`: 'file' is not known; did you mean"),
        ({"media": {"start": 1}}, "`media`: `path` is missing"),
        ({"media": "../a.mp4"}, "leads out of"),
        ({"media": "/etc/passwd"}, "leads out of"),
        ({"media": "a\0.mp4"}, "`path` holds a zero byte"),
        ({"media": "x" * 3000}, "cannot be read: "),
        ({"media": "shots"}, "shots is a folder of frames: give its `fps`"),
        ({"media": {"path": "shots", "fps": 0}}, "shots is a folder of frames: give its `fps`"),
        ({"media": {"path": "a.mp4", "fps": 3}}, "a.mp4 is no folder of frames"),
        ({"media": {"path": "a.mp4", "start": -1}}, "`start` is to be 0 or more, not -1.0"),
        ({"media": {"path": "a.mp4", "start": 3, "end": 3}}, "`end` is to come after `start`"),
        ({"media": {"path": "a.mp4", "end": "3"}}, "`end` is to be a number, not '3'"),
        ({"media": {"path": "a.mp4", "end": True}}, "`end` is to be a number, not True"),
        ({"options": "red"}, "`options` is a list of 1 to 26 texts, not 'red'"),
        ({"options": ["a"] * 27}, "`options` is a list of 1 to 26 texts"),
        ({"options": ["red", ""]}, "`options` is to be a text, not ''"),
        ({"answer": 2}, "`answer` is the right option's index from 0, letter or text; 2 is none"),
        ({"answer": "C"}, "'C' is none of 2 options"),
        ({"answer": True}, "True is none of 2 options"),
        ({"answer": 1.0}, "1.0 is none of 2 options"),
        ({"options": ["B", "A"]}, "'B' is several of 2 options"),
        ({"options": ["red", "red"], "answer": "red"}, "'red' is several of 2 options"),
        ({"options": None, "answer": "maybe"}, "without `options`, `answer` is a number, yes or"),
        ({"options": None, "answer": {"valu": 3}}, "`answer`: 'valu' is not known; did you mean"),
        ({"options": None, "answer": {"value": 1, "tolerance": -1}}, "`tolerance` is to be 0 or"),
        ({"options": None, "answer": 10**400}, "`answer` is to be a number, not 1000"),
        ({"role": "TX"}, "`role` is TR, TP or other, not 'TX'"),
        ({"role": ["TR"]}, "`role` is TR, TP or other, not ['TR']"),
        ({"categories": ["x"]}, "`categories` is an object of texts, not ['x']"),
        ({"categories": {"kind": 3}}, "`kind` is to be a text, not 3"),
        ({"categories": {"role": "TP"}}, "`role` stands beside `categories` and in it"),
        ({"evidence": "all"}, "`evidence` is a list of [start, end], not 'all'"),
        ({"evidence": [[2, 1]]}, "the end after the start, not [2, 1]"),
        ({"evidence": [[1]]}, "`evidence` is of [start, end] in seconds"),
        ({"subtitles": "a.srt"}, "`subtitles` a.srt is not there, or has none in it"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(folder, changed, told):
    assert told in problem(folder, **changed)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: is no JSON: "),
        ("3", "line 2: is to be an object in braces, not 3"),
        ('{"id": "a", "id": "b"}', "line 2: is no JSON: 'id' stands twice"),
        ("[" * 100_000, "line 2: is no JSON: maximum recursion depth exceeded"),
    ],
)
def test_a_line_that_is_no_object_is_told(folder, line, told):
    with pytest.raises(UserError) as caught:
        suite(written(folder, "", line))
    assert told in str(caught.value)


def test_every_problem_of_a_file_is_told_at_once(folder):
    lines = [LINE, {"id": "q2", "media": "a.mp4"}, LINE, {**LINE, "id": "q4", "group": "g"}]
    with pytest.raises(UserError) as caught:
        suite(written(folder, *lines))
    told = str(caught.value).splitlines()
    assert "4 things to mend" in told[0]
    assert told[1:] == [
        "  line 2: `answer` is missing",
        "  line 2: `question` is missing",
        "  line 3: id 'q1' is that of line 1 too",
        "  line 4: a.mp4 is in group 'g', but in 'a.mp4' in line 1; give both lines one `group`",
    ]


def test_at_most_twenty_problems_are_shown(folder):
    with pytest.raises(UserError) as caught:
        suite(written(folder, *(["3"] * 25)))
    told = str(caught.value).splitlines()
    assert (len(told), told[-1]) == (22, "  and 5 more")


def test_a_text_that_is_not_utf_8_is_told_with_its_line(folder):
    path = folder / "mine.jsonl"
    path.write_bytes(json.dumps(LINE).encode() + b"\n\xff")
    with pytest.raises(UserError, match="line 2 is not UTF-8"):
        suite(path)


def test_a_file_without_a_question_and_one_that_is_not_there_are_refused(folder):
    with pytest.raises(UserError, match="holds no question"):
        suite(written(folder, " "))
    with pytest.raises(UserError, match=r"suite\.path=.*gone\.jsonl cannot be read"):
        suite(folder / "gone.jsonl")
    with pytest.raises(UserError, match=r"needs suite\.path=FILE"):
        suite(None)


def test_a_line_separator_within_a_text_ends_no_line(folder):
    path = written(folder, json.dumps({**LINE, "question": "One\u2028two?"}, ensure_ascii=False))
    assert suite(path).samples[0].question == "One\u2028two?"


def test_another_content_is_another_revision(folder):
    first = suite(written(folder, LINE)).revision
    assert suite(written(folder, {**LINE, "answer": 0})).revision != first


def suite_or_refusal(path):
    try:
        assert isinstance(suite(path, scorer="generate"), Suite)
    except UserError as refusal:
        assert str(path) in str(refusal)  # noqa: PT017


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["path", "start", "end", "fps", "value"]), inner)
    ),
    max_leaves=8,
)
PLAUSIBLE = st.sampled_from(
    ["a.mp4", "shots", "..", ".", "/", "A", "yes", ["x", "y"], 0, {"path": "a.mp4", "end": 1}]
)
MANGLED = st.dictionaries(st.sampled_from(FIELDS), ANY | PLAUSIBLE)


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_are_a_suite_or_refused(folder, content):
    path = folder / "mine.jsonl"
    path.write_bytes(content)
    suite_or_refusal(path)


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=st.lists(MANGLED, min_size=1, max_size=3))
def test_any_values_are_a_suite_or_refused(folder, changed):
    lines = [json.dumps({**LINE, "id": str(i), **one}) for i, one in enumerate(changed)]
    suite_or_refusal(written(folder, *lines))
