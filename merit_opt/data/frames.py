"""Which frames of a video are looked at."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sampling:
    """Where in a video its frames were taken.

    Attributes:
        indices: Ascending indices in [0, total).
        total: Frames the video has.
        fps: Frames a second, averaged over the file; above 0.
    """

    indices: tuple[int, ...]
    total: int
    fps: float


def frame_indices(total: int, count: int | None) -> tuple[int, ...]:
    """Indices of `count` frames spread evenly over `total`, ends included.

    Args:
        total: Frames the video has, at least 1.
        count: Frames wanted, at least 1; None takes all. A video with fewer gives some twice,
            so that every video of a suite costs the same.

    Returns:
        Ascending indices in [0, total). One frame is the middle one.

    Raises:
        ValueError: `total` or `count` is below 1.
    """
    if total < 1 or (count is not None and count < 1):
        raise ValueError(f"expected at least one frame, got total={total}, count={count}")
    if count is None:
        return tuple(range(total))
    if count == 1:
        return (total // 2,)
    gaps = count - 1
    return tuple((2 * i * (total - 1) + gaps) // (2 * gaps) for i in range(count))
