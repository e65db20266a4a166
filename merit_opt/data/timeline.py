"""When the frames of a video are shown, in seconds from its first.

Containers round times to milliseconds, give them as 32-bit floats, or have none at all.
"""

from collections.abc import Sequence

import numpy as np

FPS_UNKNOWN = 24.0  # as transformers assumes
ROUNDING = 1.01e-3
LONGEST, LATEST = 1e6, 1e12
SAME_RATE = 0.01
TRUNCATED_SHARE, TRUNCATED_SECONDS = 0.05, 0.5


def is_plausible(times: Sequence[float]) -> bool:
    """Whether these can be times of frames: ascending, and no longer than eleven days."""
    found = np.asarray(times, dtype=np.float64)
    if not len(found) or not (np.abs(found) < LATEST).all():
        return False
    length = found[-1] - found[0]
    return bool(
        (np.diff(found) >= 0).all() and (length > 0) == (len(found) > 1) and length < LONGEST
    )


def even_times(count: int, fps: float) -> tuple[float, ...]:
    """Of frames that follow one another at a constant rate."""
    return tuple((np.arange(count) / fps).tolist())


def steadied(times: Sequence[float], fps: float | None) -> tuple[tuple[float, ...], float]:
    """Times from the first frame on, and their rate.

    Times of a constant rate become those of the rate itself; others stay as they are, and what
    the container calls their average rate is believed where it is nearly right.

    Args:
        times: Plausible ones.
        fps: What the container calls its rate; None where it does not say.

    Returns:
        The times, the first 0, and frames a second, above 0.
    """
    found = np.asarray(times, dtype=np.float64) - times[0]
    measured = (len(found) - 1) / found[-1] if found[-1] > 0 else None
    for rate in (fps, None if measured is None else round(measured)):
        if rate and np.abs(found - np.arange(len(found)) / rate).max() <= ROUNDING:
            return even_times(len(found), rate), float(rate)
    if fps and (measured is None or abs(measured / fps - 1.0) < SAME_RATE):
        return tuple(found.tolist()), fps
    return tuple(found.tolist()), measured or FPS_UNKNOWN


def truncation(times: Sequence[float], fps: float, declared: float | None) -> str:
    """What is missing at the end, in words; empty where nothing to speak of is.

    Args:
        times: Of all frames that are there, from the first on.
        fps: Frames a second.
        declared: Seconds that the file says it lasts, from its first frame on.
    """
    end = times[-1] + 1.0 / fps
    slack = max(TRUNCATED_SECONDS, TRUNCATED_SHARE * (declared or 0.0), 2.0 / fps)
    if declared is None or end >= declared - slack:
        return ""
    return f"its frames end at {end:.1f} s of the {declared:.1f} s that it declares"
