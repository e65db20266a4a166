"""What becomes of an evaluation when a decoder hangs, dies or reads only a part."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from merit_opt.data.media.decode_pool import DecodePool
from merit_opt.data.sample import Media
from merit_opt.data.suite import Decoding
from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation import prepare
from merit_opt.evaluation.engine import Engine
from merit_opt.recipe.constructors import base, uniform
from tests.unit.evaluation.conftest import SETTINGS, Told

HALF_BAD = "tests.faults.bad_decoder:read"


@pytest.fixture
def copied(small_suite, tmp_path):
    """Two questions on each of four clips, with room for one clip to be lost."""
    folder = tmp_path / "videos"
    folder.mkdir()
    media = tuple(dict.fromkeys(s.media[0] for s in small_suite.samples))[:4]
    copies = {m: Media(Path(shutil.copy(m.path, folder)), m.digest) for m in media}
    samples = [
        replace(s, media=(copies[m],))
        for m in media
        for s in [s for s in small_suite.samples if s.media[0] == m][2:4]
    ]
    return replace(small_suite, samples=tuple(samples), max_unusable=0.25)


@pytest.fixture
def engine_of(tiny_pair_live, tmp_path, monkeypatch):
    """An engine whose decoder obeys the names of the files."""
    monkeypatch.setattr(prepare, "DecodePool", partial(DecodePool, reader=HALF_BAD))
    settings = replace(SETTINGS, decode_seconds=3.0, decode_workers=2)
    cache = tmp_path / "cache"
    return lambda reporter: Engine(
        tiny_pair_live, settings, cache=cache, starts={}, reporter=reporter
    )


@pytest.fixture
def evaluate(engine_of):
    """Scores of two recipes."""

    def run(suite, reporter):
        with engine_of(reporter) as engine:
            return [engine.evaluate(recipe, suite) for recipe in (base(9), uniform(9, 0.5))]

    return run


@pytest.fixture
def spoken(copied):
    """The same, to be answered in words."""
    asking = replace(copied.asking, scorer="generate", decoding=Decoding("greedy", 1))
    return replace(copied, asking=asking)


def act(suite, what):
    """Have the decoder do this to the suite's second clip; the ids of its samples."""
    media = tuple(dict.fromkeys(s.media[0] for s in suite.samples))[1]
    media.path.with_suffix(".act").write_text(what)
    return {s.id for s in suite.samples if s.media[0] == media}, media.path


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("hang", "it was not decoded within 3 s"),
        ("crash", "its decoder died with signal 11"),
    ],
)
def test_a_decoder_that_hangs_or_dies_costs_its_samples_alone(
    copied, evaluate, tmp_path, what, reason
):
    lost, path = act(copied, what)
    for engine in range(3):  # the second knows what the first measured, the third has lost it
        if engine == 2:
            shutil.rmtree(tmp_path / "cache" / "evaluations")
        found = evaluate(copied, Told())
        for evaluation in found:
            assert evaluation.unscored.keys() == lost
            assert all(why.startswith(f"{path}: {reason}") for why in evaluation.unscored.values())
            assert len(evaluation.measured("accuracy")) == 6
        calls = path.with_suffix(".calls").read_text().count("\n")
        assert calls == (2 if what == "crash" else 1)
        assert (engine == 2) == ("not tried again" in found[0].unscored[min(lost)])
        assert all((e.cost is None) == (engine == 1) for e in found)
    path.with_suffix(".act").unlink()
    (tmp_path / "cache" / "quarantine.json").unlink()
    assert [e.unscored for e in evaluate(copied, Told())] == [{}, {}]


@pytest.mark.parametrize(
    ("what", "kind", "detail"),
    [
        ("crash", "failed", "its decoder died with signal 11"),
        ("partial", "partial", "3 of 16 packets are damaged"),
    ],
)
def test_samples_on_media_that_are_not_whole_are_known_with_what_is_amiss(
    copied, engine_of, what, kind, detail
):
    concerned, _ = act(copied, what)
    with engine_of(Told()) as engine:
        engine.evaluate(base(9), copied)
        statuses = engine.statuses(copied)
    assert statuses.keys() == {s.id for s in copied.samples}
    found = {i: status for i, status in statuses.items() if status.kind != "ok"}
    assert found.keys() == concerned
    assert {status.kind for status in found.values()} == {kind}
    assert all(detail in status.detail for status in found.values())


def test_answers_in_words_miss_what_a_decoder_dies_of_for_every_recipe(spoken, evaluate):
    lost, path = act(spoken, "crash")
    assert [e.left_out.keys() for e in evaluate(spoken, Told())] == [lost, lost]
    assert path.with_suffix(".calls").read_text().count("\n") == 2


@pytest.mark.parametrize(
    ("what", "reason"), [("hang", "not decoded within 3 s"), ("crash", "died with signal 11")]
)
def test_a_medium_that_fails_only_when_words_are_asked_fails_the_trial(
    spoken, evaluate, tmp_path, what, reason
):
    evaluate(spoken, Told())
    shutil.rmtree(tmp_path / "cache" / "evaluations")
    _, path = act(spoken, what)
    for known in (reason, f"{reason}.*so it is not tried again"):
        with pytest.raises(
            TrialFailed, match=f"^{path} could be read when .* cannot be now .*{known}"
        ):
            evaluate(spoken, Told())


def test_too_many_hanging_videos_refuse_the_suite_with_their_names(copied, evaluate):
    _, path = act(copied, "hang")
    with pytest.raises(
        UserError, match=rf"2 of 8 samples .* more than .*\n  {path}: it was not dec"
    ):
        evaluate(replace(copied, max_unusable=0.1), Told())


def test_a_video_that_is_read_in_part_is_used_and_told_from_the_cache_too(
    copied, evaluate, tmp_path
):
    _, path = act(copied, "partial")
    for _ in range(2):
        told = Told()
        assert [e.unscored for e in evaluate(copied, told)] == [{}, {}]
        (warning,) = told.warnings
        assert warning == (
            f"1 of 4 media of suite {copied.name} are used as far as they can be read: {path} "
            "(partial: 3 of 16 packets are damaged)"
        )
        shutil.rmtree(tmp_path / "cache" / "evaluations")
    assert path.with_suffix(".calls").read_text().count("\n") == 1
