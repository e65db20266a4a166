"""What a user's mistake is told: exit code 2, a sentence with the right name, no traceback."""

import re
import shutil
from pathlib import Path

import pytest

from merit_opt.cli.refusal import sentence

TYPOS = {
    "search @small study.trails=3": r"'study\.trails'\. Did you mean study\.trials=\?",
    "search @small pair.vml=x": r"'pair\.vml'\. Did you mean pair\.vlm=\?",
    "search @small spacee=merit": r"'spacee'\. Did you mean space=\?",
    "search @small pair=tinny": r"there is no pair=tinny; did you mean pair=tiny\? \(custom, .*tiny",
    "search @small sampler=tpe sampler.n_startup_trails=5": (
        r"'sampler\.n_startup_trails'\. Did you mean sampler\.n_startup_trials=\?"
    ),
    "search @small sampler.n_startup_trails=5": (
        r"There is sampler\.n_startup_trials= with sampler=gp, sampler=tpe\.$"
    ),
    "search -m @small sampler=cmaes,tpe sampler.sigma=1": r"Did you mean sampler\.sigma0=\?",
    "search @small sampler.sigma0=1": r"There is sampler\.sigma0= with sampler=cmaes\.$",
    "search @small experiment=merit_paper sampler.sigma=1": r"Did you mean sampler\.sigma0=\?",
    "search @small +sampler.warm_strat=scan": r"sampler\.warm_strat is not known; did you mean sampler\.warm_start\?",
    "search @small +study.trails=3": r"study\.trails is not known; did you mean study\.trials=\?",
}

WRONG_TYPES = {
    "search @small study.trials=abc": r"study\.trials=abc: Value 'abc' of type 'str' could not",
    "search @small space.low=abc": r"space\.low: expected a number, got 'abc'",
    "search @small pair=null": r"must be a string or a list",
    "search @small study.trials=${nope}": r"Interpolation key 'nope' not found",
}

OUT_OF_RANGE = {
    "search @small space.low=0.9 space.high=0.2": r"expected 0 <= space\.low < space\.high <= 1",
    "search @small seed=-1": r"seed must lie in 0 to 4294967295, got -1",
    "search @small suite.split_seed=-1": r"suite\.split_seed must lie in 0 to 4294967295, got -1",
    "evaluate recipe=base seed=-1": r"seed must lie in 0 to 4294967295, got -1",
    "search @small suite.clips=1": r"a split needs at least two",
    "search @small suite.tp_per_clip=0": r"suite clips has no TP questions",
    "search @small device=gpu": r"device is auto, cpu, cuda:N or balanced; got 'gpu'",
    "search @small pair.vlm=vlm_planted_35": r"did you mean 'vlm_planted_3_5'\?",
    "search @small study.name=../x": r"study\.name is the name of a folder, so without /",
}

MISSING = {
    "search @small pair=custom": r"pair\.vlm= must be given",
    "search @small pair=custom pair.vlm=a_model": r"no text backbone: give it, pair\.backbone=FOL",
    "export": r"out= must be given; recipe= must be given",
}

EXPERIMENTS = {
    "search experiment=icml_qwen2_vl_math": (
        r"experiment=icml_qwen2_vl_math sets recipe, which merit-opt search does not have; it is "
        r"one for merit-opt evaluate or merit-opt attribute or merit-opt export or merit-opt check$"
    ),
    "evaluate experiment=merit_paper recipe=base": (
        r"sets sampler, space, study, which merit-opt evaluate does not have; it is one for "
        r"merit-opt search$"
    ),
    "plant layers=[3,a] out=x": r"layers must be numbers, as in \[3,5\], or lists of them, as in \[",
    "plant layers=[3,[4]] out=x": r"layers must be numbers, .* got \[3, \[4\]\]",
    "plant layers=[true] out=x": r"layers must be numbers, .* got \[True\]",
    "plant layers=[[3,[4]]] out=x": r"layers must be numbers, .* got \[\[3, \[4\]\]\]",
    "plant layers=[[3],[]] out=x": r"layers must be one or more different ones of 3 to 8, got 3 \| ; ",
    "plant experiment=icml_qwen2_vl_math": r"sets pair, recipe, which merit-opt plant does not ha",
    "search experiment=merit_papr": r"there is no experiment=merit_papr; did you mean experiment",
}

UNREAD = {
    "search 'pair.vlm=/a b(c'": r"""pair\.vlm=/a b\(c cannot be read: quote it, .* \('pair\.vlm="/a""",
    "search pair.vlm=~/a,~/b": r"""~/a,~/b cannot be read: .*; a path may also be absolute$""",
}

ELSEWHERE = {
    "search @small storage.url=sqlite:///a_file": r"sqlite:///a_file: file is not a database",
    "search @small output_dir=a_file": r"cannot write to output_dir=a_file: File exists; choose",
    "search @small pair._target_=os.system": (
        r"pair\._target_=os\.system is refused; the options there have merit_opt\.models\.source"
    ),
    "search @small foo": r"Error parsing override 'foo'",
}


@pytest.fixture
def a_model(tmp_path: Path, tiny_source) -> None:
    shutil.copytree(tiny_source.vlm, tmp_path / "a_model")


@pytest.mark.usefixtures("a_model")
@pytest.mark.parametrize(
    "line", [*TYPOS, *WRONG_TYPES, *OUT_OF_RANGE, *MISSING, *EXPERIMENTS, *UNREAD, *ELSEWHERE]
)
def test_a_mistake_is_told_in_a_sentence(merit_opt, loads, line, tmp_path: Path):
    (tmp_path / "a_file").write_text("not a folder, not a database")
    done = merit_opt(line)
    told = TYPOS | WRONG_TYPES | OUT_OF_RANGE | MISSING | EXPERIMENTS | UNREAD | ELSEWHERE
    assert done.code == 2, done
    assert done.err.startswith("merit-opt: ") or "${" in line
    assert re.search(told[line], done.err.strip()), done.err
    assert "Traceback" not in done.out + done.err
    assert "To append" not in done.err
    assert not (tmp_path / "outputs" / "merit.db").exists()
    assert loads == []
    assert (tmp_path / "a_file").read_text() == "not a folder, not a database"


def test_problems_of_all_groups_are_told_together(merit_opt):
    done = merit_opt(
        "search @small +space.lo=3 +pair.vml=4 engine.threads=abc suite.split_seed=x space.low=abc"
    )
    assert done.code == 2
    assert done.err.splitlines() == [
        "merit-opt: the configuration does not fit:",
        "  pair.vml is not known; did you mean pair.vlm?",
        "  suite.split_seed: expected a whole number, got 'x'",
        "  space.low: expected a number, got 'abc'",
        "  space.lo is not known; did you mean space.low?",
        "  engine.threads: expected a whole number, got 'abc'",
    ]


def test_a_mistake_in_one_job_of_a_sweep_ends_that_job_alone(merit_opt, tmp_path):
    done = merit_opt("search -m @small space.low=0.2,2 space.high=1 study.name=s${space.low}")
    assert done.code == 2
    assert done.err == ("merit-opt: expected 0 <= space.low < space.high <= 1, got 2.0 and 1.0\n")
    assert [p.name for p in (tmp_path / "outputs" / "studies").iterdir()] == ["s0.2"]


def test_a_bug_is_not_taken_for_a_mistake(merit_opt, monkeypatch):
    def bug(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("merit_opt.cli.search.split_by_group", bug)
    with pytest.raises(ValueError, match="a bug"):
        merit_opt("search @small")


def test_a_pair_that_cannot_be_measured_is_told_in_a_sentence(merit_opt, monkeypatch):
    from merit_opt.errors import TrialFailed
    from merit_opt.evaluation.engine import Engine

    def fails(*_: object) -> None:
        raise TrialFailed("layer 3: not a number")

    monkeypatch.setattr(Engine, "evaluate", fails)
    for line in ("search @small", "evaluate recipe=uniform:0.5 suite.clips=10"):
        done = merit_opt(line)
        assert (done.code, done.err) == (2, "merit-opt: layer 3: not a number\n")


def test_what_options_share_is_no_option(merit_opt):
    done = merit_opt("check suite=_asking")
    assert (done.code, "suite=_asking is what options of this group share" in done.err) == (
        2,
        True,
    )
    assert "Traceback" not in done.err


@pytest.mark.parametrize("words", ["", "\n", "To append to your config use +x"])
def test_a_reason_without_words_is_named_by_its_kind(words):
    assert sentence("search", ["seed=0"], ValueError(words)) == "ValueError."
