import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.data.media.timeline import (
    FPS_UNKNOWN,
    even_times,
    is_plausible,
    steadied,
    truncation,
)

RATES = st.sampled_from([8.0, 10.0, 24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 59.94])


@given(
    count=st.integers(2, 4000), fps=RATES, begin=st.floats(0, 1000), bits=st.sampled_from([32, 64])
)
def test_times_that_a_container_rounded_become_those_of_the_rate(count, fps, begin, bits):
    rounded = np.round(np.arange(count) / fps + round(begin, 3), 3)
    given_times = rounded.astype(f"float{bits}").astype(float).tolist()
    assert steadied(given_times, fps) == (even_times(count, fps), fps)


@given(gaps=st.lists(st.floats(0.01, 3.0), min_size=2, max_size=100), fps=RATES | st.none())
def test_uneven_times_stay_and_begin_at_zero(gaps, fps):
    gaps[-1] = gaps[0] + 1.0
    times = np.concatenate([[5.0], 5.0 + np.cumsum(gaps)])
    found, rate = steadied(times.tolist(), fps)
    np.testing.assert_allclose(found, times - 5.0, atol=1e-9)
    assert rate == pytest.approx(len(gaps) / (times[-1] - 5.0), rel=0.011)


def test_a_rate_that_the_times_belie_is_measured():
    times = np.cumsum([0.0, *[0.035, 0.75] * 20]).tolist()
    found, rate = steadied(times, 30.0)
    assert found == tuple(times)
    assert rate == pytest.approx(40 / times[-1])


def test_one_frame_has_the_rate_that_is_told_or_assumed():
    assert steadied([7.0], 12.0) == ((0.0,), 12.0)
    assert steadied([7.0], None) == ((0.0,), FPS_UNKNOWN)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([0.0], True),
        ([3.0, 3.0, 4.0], True),
        ([], False),
        ([0.0, float("nan")], False),
        ([-3e17, -3e17, -3e17], False),
        ([-3e17, 1.0], False),
        ([0.0, 2.0, 1.0], False),
        ([5.0, 5.0], False),
        ([0.0, 2e6], False),
    ],
)
def test_impossible_times_are_told_from_possible_ones(times, expected):
    assert is_plausible(times) is expected


@pytest.mark.parametrize(
    ("seconds", "declared", "is_cut"),
    [(4.5, 7.8, True), (7.8, 7.8, False), (7.4, 7.8, False), (7.8, None, False), (95, 101, True)],
)
def test_an_end_well_before_the_declared_one_is_told(seconds, declared, is_cut):
    found = truncation(even_times(round(seconds * 10), 10.0), 10.0, declared)
    assert bool(found) is is_cut
    assert (
        not is_cut
        or found == f"its frames end at {seconds:.1f} s of the {declared:.1f} s that it declares"
    )
