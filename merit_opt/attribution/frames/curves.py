"""Whether frames that are said to matter do: removed or put back in the order of attribution."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from merit_opt.attribution.frames.asked import Asked
from merit_opt.models.frames import without_frames

RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Curves:
    """Probability of an option after 0, 1, ... groups of frames, those that support it most first.

    Attributes:
        deletion: The groups replaced by the mean feature, one after another.
        insertion: The groups put back into a video of nothing but the mean feature.
    """

    deletion: tuple[float, ...]
    insertion: tuple[float, ...]


def area(shares: Sequence[float], curve: Sequence[float]) -> float:
    """Under a curve over the share of the frames, in [0, 1]; `shares` are those of its points."""
    return float(np.trapezoid(curve, shares))


def orders(
    attributions: Mapping[str, Sequence[float]], frames: int, seed: str
) -> dict[str, list[int]]:
    """By method the frames, the most supportive first; and a random order."""
    found = {
        how: sorted(range(frames), key=lambda frame, own=own: (-own[frame], frame))
        for how, own in attributions.items()
    }
    drawn = random.Random(seed).sample(range(frames), frames)
    return {**found, RANDOM: drawn}


def curves(
    asked: Asked, option: int, by_order: Mapping[str, Sequence[int]], groups: int
) -> dict[str, Curves]:
    """Curves of each order.

    Args:
        asked: One sample.
        option: Index of the option whose probability is drawn.
        by_order: Name -> all frames, in the order in which they go.
        groups: In how many steps, at most, they go.
    """
    (name,) = asked.samples
    baseline, known = asked.baseline, dict[frozenset[int], float]()

    def probability(gone: Sequence[int]) -> float:
        key = frozenset(gone)
        if key not in known:
            left = without_frames(asked.pack, asked.frames, sorted(key), baseline)
            known[key] = float(asked.answers(left)[name][option].double().exp())
        return known[key]

    return {
        order: Curves(
            deletion=tuple(probability(frames[:cut]) for cut in cuts(len(frames), groups)),
            insertion=tuple(probability(frames[cut:]) for cut in cuts(len(frames), groups)),
        )
        for order, frames in by_order.items()
    }


def cuts(frames: int, groups: int) -> Iterator[int]:
    """After how many frames a curve has a point: 0, ..., all, evenly."""
    steps = min(frames, groups)
    return (round(i * frames / steps) for i in range(steps + 1))


def shares(frames: int, points: int) -> tuple[float, ...]:
    """At which shares of the frames a curve of so many points has them."""
    return tuple(cut / frames for cut in cuts(frames, points - 1))
