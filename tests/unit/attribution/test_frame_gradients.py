"""Attribution to frames where memory is short, and where answers jump between mean and video."""

from dataclasses import replace

import pytest
import torch

from merit_opt.attribution.frames import asked as asked_module
from merit_opt.attribution.frames.asked import Asked
from merit_opt.attribution.frames.effects import HOWS, attributed
from merit_opt.attribution.frames.gradients import LEAST, SHARE, Line, quadrature, worst
from merit_opt.attribution.frames.method import Frames
from merit_opt.errors import TrialFailed
from merit_opt.models import gradient
from merit_opt.models.frames import frame_tokens
from tests.unit.attribution.conftest import RESTORED

FLOAT = 1e-4


@pytest.fixture
def fresh(bench, tmp_path, monkeypatch):
    """A bench that knows nothing yet, with the questions about two videos."""
    monkeypatch.setattr(bench.engine, "cache", tmp_path)
    bench.reporter.warnings.clear()
    return replace(bench, suite=bench.suite.only(s.id for s in bench.suite.samples[:10]))


def frames(**given):
    fields = {
        "methods": HOWS,
        "models": ("merged",),
        "samples": 10,
        "steps": 4,
        "most_steps": 4,
        "curves": 2,
        "redrawn": 0,
    }
    return Frames(**{**fields, **given})


@pytest.fixture
def memory_for(monkeypatch):
    """Let at most so many questions fit into memory at once, with gradients and without."""

    def limit(most):
        sizes = []

        def scarce(original):
            def finish(pair, pack, hidden, start):
                sizes.append(len(pack.questions))
                if len(pack.questions) > most:
                    raise torch.OutOfMemoryError("tried to allocate 2 GiB")
                return original(pair, pack, hidden, start)

            return finish

        for module in (asked_module, gradient):
            monkeypatch.setattr(module, "finish", scarce(module.finish))
        return sizes

    return limit


@pytest.fixture
def memory_for_gradients(monkeypatch):
    """Let at most so many questions be differentiated at once."""
    original = gradient.finish

    def limit(most):
        def finish(pair, pack, hidden, start):
            if torch.is_grad_enabled() and len(pack.questions) > most:
                raise torch.OutOfMemoryError("tried to allocate 2 GiB")
            return original(pair, pack, hidden, start)

        monkeypatch.setattr(gradient, "finish", finish)

    return limit


def numbers(found):
    """Every number of the tables, by what tells it apart."""
    keys = ("sample", "method", "target", "frame")
    rows = found.tables["frames"]
    of_frames = {tuple(r[k] for k in keys): r["attribution"] for r in rows}
    of_samples = {
        (r["sample"], i): value
        for r in found.tables["frame_samples"]
        for i, value in enumerate([*r["log_probabilities"], r["gap"], r["residual"]])
        if value is not None
    }
    return of_frames | of_samples


def test_videos_that_do_not_fit_are_explained_half_their_samples_at_a_time(fresh, memory_for):
    whole = frames().run(fresh)
    sizes = memory_for(2)
    fresh.engine.cache /= "other"
    found = frames().run(fresh)
    assert found.failed == {}
    assert sizes.count(5) == 2  # once a video
    assert set(sizes) == {5, 3, 2, 1}
    one, other = numbers(found), numbers(whole)
    assert one.keys() == other.keys()
    assert all(one[key] == pytest.approx(other[key], abs=FLOAT, rel=FLOAT) for key in one)
    assert len(fresh.reporter.warnings) == 2 * 2  # of five samples, and of three of them
    assert fresh.reporter.warnings[0] == (
        "out of memory: tried to allocate 2 GiB; half of the 5 samples are asked at a time"
    )


def test_gradients_that_do_not_fit_halve_a_video_too(fresh, memory_for_gradients):
    whole = frames(methods=("gradient",)).run(fresh)
    memory_for_gradients(3)
    fresh.engine.cache /= "other"
    found = frames(methods=("gradient",)).run(fresh)
    assert found.failed == {}
    one, other = numbers(found), numbers(whole)
    assert all(one[key] == pytest.approx(other[key], abs=FLOAT, rel=FLOAT) for key in one)
    assert len(fresh.reporter.warnings) == 2


def test_samples_that_do_not_fit_alone_are_told_and_asked_again_next_time(fresh, memory_for):
    memory_for(0)
    with pytest.raises(TrialFailed, match="no sample could be explained: out of memory: tried to"):
        frames().run(fresh)
    assert not list(fresh.engine.cache.rglob("frames/*.json"))


@pytest.fixture
def one(bench) -> Asked:
    """A sample about a video of the restored model, whose answers jump."""
    live = bench.engine.live(RESTORED, bench.suite)
    pack = live.packs[0]
    own = {s.id: s for s in bench.suite.samples if s.id in {q.id for q in pack.questions}}
    frames = frame_tokens(live.pair.family, pack.features)
    return next(Asked(live.pair, pack, frames, own, bench.suite.asking.scorer).alone())


def test_more_gradients_are_taken_where_answers_jump_until_they_add_up(one, monkeypatch):
    taken = []
    original = gradient.passed
    monkeypatch.setattr(
        "merit_opt.attribution.frames.gradients.passed",
        lambda pair, pack: taken.append(pack) or original(pair, pack),
    )
    places = [(name, sample.answer) for name, sample in one.samples.items()]
    whole, nothing = one.answers(), one.answers(one.without_all())
    gaps = [float(whole[n][o].double() - nothing[n][o].double()) for n, o in places]

    def missed(line):
        taken.clear()
        found = attributed(one, "integrated", places, line)
        return [abs(sum(found[p]) - g) for p, g in zip(places, gaps, strict=True)], len(taken)

    few, points = missed(Line(16, 16))
    assert points == 16
    allowed = [max(SHARE * abs(gap), LEAST) for gap in gaps]
    assert any(miss > 2 * most for miss, most in zip(few, allowed, strict=True))
    many, points = missed(Line(16, 2048))
    assert all(miss <= most + FLOAT for miss, most in zip(many, allowed, strict=True))
    assert points < 1024  # far fewer than evenly spread ones, of which 256 do not suffice
    some, points = missed(Line(16, 32))
    assert points <= len(places) * 16 + 16
    assert sum(some) > sum(many)


def test_points_lie_inside_their_piece_and_weigh_its_width():
    found = quadrature((0.25, 0.75), 4)
    assert all(0.25 < x < 0.75 for x, _ in found)
    assert sum(w for _, w in found) == pytest.approx(0.5)
    assert sum(w * x**7 for x, w in found) == pytest.approx((0.75**8 - 0.25**8) / 8)


def test_the_pieces_that_miss_most_are_halved_and_no_more_than_needed():
    missed = {(0.0, 0.25): 0.3, (0.25, 0.5): 0.01, (0.5, 0.75): 2.0, (0.75, 1.0): 0.02}
    assert worst(missed, 0.05, 9) == [(0.5, 0.75), (0.0, 0.25)]
    assert worst(missed, 0.4, 9) == [(0.5, 0.75)]
    assert worst(missed, 0.05, 1) == [(0.5, 0.75)]
    assert worst(missed, 3.0, 9) == []
