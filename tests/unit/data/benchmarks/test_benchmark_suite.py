import json
from dataclasses import replace
from pathlib import Path

import pytest

from merit_opt.data.benchmarks import BENCHMARKS, suite
from merit_opt.data.benchmarks.benchmark import LeftOut
from merit_opt.data.benchmarks.suite import benchmark_suite
from merit_opt.data.prompts import LETTER
from merit_opt.data.sample import Media, Number, Sample
from merit_opt.errors import UserError
from tests.suites import USUAL
from tests.unit.data.benchmarks.test_benchmark import made_up

SETTINGS = {
    **USUAL,
    "benchmark": "toy",
    "variant": "plain",
    "download": False,
    "revision": None,
    "roles": {"TR": ("order",), "TP": ("colour", "shape")},
}


def sample(name, kind, answer=0):
    options = () if isinstance(answer, Number) else ("a", "b")
    media = (Media(Path(__file__), "0"),)
    return Sample(name, media, "what?", options, answer, (("kind", kind),), name)


ROWS = (
    sample("1", "order"),
    sample("2", "colour"),
    sample("3", "size"),
    LeftOut("4", "no answer"),
    sample("5", "order", Number(3.0, 0.1)),
)


@pytest.fixture
def toy(monkeypatch, tmp_path):
    def build(rows=ROWS, read=None, **changes):
        own = {"read": read or (lambda *_: rows), "prompts": {"lmms": LETTER}}
        monkeypatch.setattr(suite, "BENCHMARKS", {**BENCHMARKS, "toy": made_up(**own)})
        return benchmark_suite(**SETTINGS | {"root": tmp_path, "cache": tmp_path} | changes)

    return build


def test_samples_keep_their_order_and_what_is_left_out_its_reason(toy):
    built = toy()
    assert [s.id for s in built.samples] == ["1", "2", "3"]
    assert built.left_out == {
        "4": "no answer",
        "5": "its answer is a number, which only suite.scorer=generate reads",
    }
    assert [s.id for s in toy(scorer="generate").samples] == ["1", "2", "3", "5"]


def test_roles_are_of_the_benchmarks_own_field(toy):
    built = toy()
    assert [built.role(s) for s in built.samples] == ["TR", "TP", "other"]


def test_a_suite_says_what_it_is_and_at_which_revision(toy):
    assert (toy().name, toy().revision) == ("toy", "0" * 40)
    assert (toy(variant="heard").name, toy(revision="v2").revision) == ("toy-heard", "v2")


@pytest.mark.parametrize(
    "change",
    [
        {"variant": "heard"},
        {"prompt": "letter_after_option"},
        {"scorer": "option_loglik"},
        {"permutations": 2},
        {"sampling": "midpoints"},
        {"frames": 9},
        {"roles": {"TR": ("order",)}},
        {"revision": "v2"},
    ],
)
def test_every_setting_that_can_move_a_score_is_in_the_digest(toy, change):
    assert toy(**change).digest != toy().digest


@pytest.mark.parametrize("member", [False, True])
def test_what_a_medium_is_read_as_is_in_the_digest_and_where_it_lies_is_not(toy, member):
    def digest(name):
        media = Media(Path("a.zip"), "0", name) if member else Media(Path(name), "0")
        return toy(rows=(replace(sample("1", "order"), media=(media,)),)).digest

    assert digest("x.mp4") == digest("elsewhere/y.webm")
    assert len({digest(f"x.{suffix}") for suffix in ("mp4", "png", "gif")}) == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"benchmark": "video_mme"}, r"suite.benchmark='video_mme' is not known; .*'videomme'"),
        ({"variant": "heart"}, r"suite.variant='heart': toy has plain, heard"),
        ({"prompt": "lmm"}, r"no prompt is called 'lmm' here; did you mean 'lmms'"),
        ({"frames": 0}, r"suite.frames is at least 1"),
        ({"roles": {"TR": ("order",), "TP": ("order",)}}, r"'order' is both TR and TP"),
        ({"roles": {"TX": ("order",)}}, r"suite.roles are TR, TP and other; got TX"),
        ({"root": None}, r"suite.root is null"),
    ],
)
def test_a_name_or_value_that_does_not_fit_is_a_sentence(toy, change, told):
    with pytest.raises(UserError, match=told):
        toy(**change)


def test_an_id_that_stands_twice_is_refused(toy):
    with pytest.raises(UserError, match=r"1 ids stand twice, such as '1'; keep one copy"):
        toy(rows=(*ROWS, sample("1", "order")))


@pytest.mark.parametrize("row", [{}, {"question": None}, 3, None, [1], "text"])
def test_a_row_in_another_layout_is_a_sentence_and_never_a_traceback(toy, row):
    def read(*_):
        yield sample(row["id"], row["kind"].lower(), row["answer"] + 1)

    with pytest.raises(UserError, match=r"an annotation of toy is not as its authors ship it"):
        toy(read=read)


@pytest.mark.parametrize("content", [[{"video": "x"}], [{}], [None], {"a": 1}, []])
def test_annotations_of_something_else_are_refused_by_every_json_benchmark(tmp_path, content):
    """MVBench's folder with files of another dataset in it."""
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "action_antonym.json").write_text(json.dumps(content))
    with pytest.raises(UserError):
        benchmark_suite(
            **SETTINGS
            | {"benchmark": "mvbench", "variant": "all", "root": tmp_path, "cache": tmp_path}
        )
