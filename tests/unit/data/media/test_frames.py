import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.media.frames import FramePlan, Sampling, choose_frames, sampled
from merit_opt.errors import UserError

GAPS = st.lists(st.floats(0.001, 3.0), min_size=0, max_size=200)
MODES = st.sampled_from(["all", "uniform", "midpoints", "fps"])
PLANS = st.builds(FramePlan, MODES, st.integers(1, 64), st.floats(0.1, 60.0))
SECONDS = st.none() | st.floats(0.0, 300.0)


def times_of(gaps):
    return np.concatenate([[0.0], np.cumsum(gaps)]).tolist()


def even(count, fps=25.0):
    return [i / fps for i in range(count)]


@given(gaps=GAPS, plan=PLANS, one=SECONDS, other=SECONDS)
def test_frames_are_in_order_and_inside_the_window(gaps, plan, one, other):
    times = times_of(gaps)
    start, end = sorted((one, other), key=lambda t: t or 0.0)
    chosen = choose_frames(times, plan, start, end)
    assert list(chosen) == sorted(chosen)
    inside = [i for i, t in enumerate(times) if (start or 0) - 1e-6 <= t <= (end or np.inf) + 1e-6]
    if end is not None and not end:
        inside = [i for i, t in enumerate(times) if t <= 1e-6]
    if inside:
        assert set(chosen) <= set(inside)
    else:
        before = [i for i, t in enumerate(times) if t <= (start or 0.0)]
        assert set(chosen) == {before[-1]}
    if plan.mode in ("uniform", "midpoints"):
        assert len(chosen) == plan.count


@given(gaps=GAPS, count=st.integers(2, 64))
def test_evenly_spread_frames_include_the_first_and_the_last(gaps, count):
    times = times_of(gaps)
    chosen = choose_frames(times, FramePlan("uniform", count, 1.0), None, None)
    assert (chosen[0], chosen[-1]) == (0, len(times) - 1)


@given(gaps=GAPS, count=st.integers(2, 64))
def test_no_frame_is_nearer_to_a_wanted_time_than_the_chosen_one(gaps, count):
    times = np.array(times_of(gaps))
    chosen = choose_frames(times.tolist(), FramePlan("uniform", count, 1.0), None, None)
    for wanted, index in zip(np.linspace(0, times[-1], count), chosen, strict=True):
        assert abs(times[index] - wanted) <= np.abs(times - wanted).min() + 1e-6


@given(
    total=st.integers(1, 3000), count=st.integers(2, 300), fps=st.sampled_from([8.0, 23.976, 30])
)
def test_at_a_constant_rate_they_are_evenly_spread_indices(total, count, fps):
    chosen = choose_frames(even(total, fps), FramePlan("uniform", count, 1.0), None, None)
    spread = np.linspace(0, total - 1, count)
    assert np.abs(np.array(chosen) - spread).max() <= 0.5 + 1e-6


@given(total=st.integers(1, 500), plan=PLANS)
def test_at_a_constant_rate_ticks_are_indices(total, plan):
    found = sampled(even(total, 29.97), 29.97, plan, None, None)
    assert found.ticks == found.indices
    assert found.total == total


@pytest.mark.parametrize(
    ("plan", "window", "expected"),
    [
        (FramePlan("all", 1, 1.0), (None, None), list(range(10))),
        (FramePlan("all", 1, 1.0), (0.2, 0.5), [2, 3, 4, 5]),
        (FramePlan("uniform", 1, 1.0), (None, None), [5]),
        (FramePlan("uniform", 4, 1.0), (None, None), [0, 3, 6, 9]),
        (FramePlan("uniform", 2, 1.0), (0.35, None), [4, 9]),
        (FramePlan("midpoints", 3, 1.0), (None, None), [2, 5, 8]),
        (FramePlan("fps", 99, 5.0), (None, None), [0, 2, 4, 6, 8]),
        (FramePlan("fps", 3, 5.0), (None, None), [0, 5, 9]),
        (FramePlan("fps", 99, 5.0), (0.5, 0.9), [5, 7, 9]),
        (FramePlan("uniform", 2, 1.0), (0.51, 0.52), [5, 5]),
        (FramePlan("fps", 2, 5.0), (7.0, 8.0), [9]),
    ],
)
def test_each_way_of_choosing_by_example(plan, window, expected):
    assert list(choose_frames(even(10, 10.0), plan, *window)) == expected


def test_uneven_frames_are_chosen_by_time_not_by_place():
    times = [0.0, 0.1, 0.2, 0.3, 0.4, 3.0, 6.0, 9.0]
    chosen = choose_frames(times, FramePlan("uniform", 4, 1.0), None, None)
    assert chosen == (0, 5, 6, 7)


def test_a_window_counts_its_own_frames():
    plan = FramePlan("uniform", 2, 1.0)
    assert sampled(even(100, 10.0), 10.0, plan, 2.0, 3.0) == Sampling(
        (20, 30), 11, 10.0, (2.0, 3.0)
    )
    assert sampled(even(100, 10.0), 10.0, plan, 99.0, None).total == 1


@pytest.mark.parametrize(
    ("times", "window", "message"),
    [([], (None, None), "no frame"), ([0.0], (2.0, 1.0), "ends at 1.0 s, before it starts")],
)
def test_what_has_no_frame_is_an_error(times, window, message):
    with pytest.raises(ValueError, match=message):
        choose_frames(times, FramePlan("uniform", 2, 1.0), *window)


@pytest.mark.parametrize(("count", "fps"), [(0, 1.0), (1, 0.0), (1, -1.0), (1, float("nan"))])
def test_a_plan_out_of_range_is_a_sentence(count, fps):
    with pytest.raises(UserError, match=r"suite\.frames is at least 1 and suite\.fps above 0"):
        FramePlan("uniform", count, fps)
