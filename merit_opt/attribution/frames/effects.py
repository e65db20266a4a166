"""What each frame does to the log-probability of an option: by occlusion, and by gradients.

Positive: the frame speaks for the option, whose log-probability falls without it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from merit_opt.attribution.frames.asked import Asked, Said
from merit_opt.models.frames import (
    between,
    frame_sums,
    hiding_frame,
    levels_of,
    without_frames,
)
from merit_opt.models.gradient import feature_gradients, passed
from merit_opt.models.pack import Pack

How = Literal["occlusion_mean", "occlusion_hidden", "gradient", "integrated"]
HOWS: tuple[How, ...] = get_args(How)
Places = Sequence[tuple[str, int]]
"""Sample ids, each with the index of an option."""

Attributed = Mapping[tuple[str, int], tuple[float, ...]]
"""A number each frame."""


def attributed(asked: Asked, how: How, places: Places, steps: int) -> Attributed:
    """The attribution of every frame to the log-probability of options.

    Args:
        asked: What is asked of the live model.
        how: `occlusion_mean`: the frame's features replaced by the video's mean feature.
            `occlusion_hidden`: its tokens unseen by the question. `gradient`: of the
            log-probability, times (features - mean feature). `integrated`: of the gradients along
            the straight line from the mean feature.
        places: Which options of which samples.
        steps: Points of that line.

    Raises:
        TrialFailed: The model's numbers are not finite.
    """
    match how:
        case "occlusion_mean" | "occlusion_hidden":
            return _occluded(asked, how, places)
        case "gradient":
            return _differentiated(asked, places, [(1.0, 1.0)])
        case "integrated":
            return _differentiated(asked, places, line(steps))


def line(steps: int) -> list[tuple[float, float]]:
    """Points in (0, 1) with their weights: Gauss-Legendre quadrature."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    return [(0.5 * (x + 1.0), 0.5 * w) for x, w in zip(points, weights, strict=True)]


def _occluded(asked: Asked, how: How, places: Places) -> Attributed:
    whole = asked.answers()
    parts = [asked.answers(one) for one in _occlusions(asked, how)]

    def lost(place: tuple[str, int], part: Said) -> float:
        name, option = place
        return float(whole[name][option].double() - part[name][option].double())

    return {place: tuple(lost(place, part) for part in parts) for place in places}


def _occlusions(asked: Asked, how: How) -> Iterator[Pack]:
    """A pack each frame."""
    baseline = asked.baseline
    for frame in range(asked.frames.count):
        if how == "occlusion_hidden":
            yield hiding_frame(asked.pack, asked.frames, frame)
        else:
            yield without_frames(asked.pack, asked.frames, [frame], baseline)


def _differentiated(
    asked: Asked, places: Places, points: Sequence[tuple[float, float]]
) -> Attributed:
    """Weighted sums of gradients times (features - mean feature)."""
    levels = levels_of(asked.pack.features)
    ways = [x.float() - m.float() for x, m in zip(levels, asked.baseline, strict=True)]
    sums = torch.zeros(len(places), asked.frames.count, dtype=torch.float64)

    def answer(rows: Sequence[Tensor]) -> list[Tensor]:
        said = asked.said(rows)
        return [said[name][option] for name, option in places]

    for share, weight in points:
        at = between(asked.pack, asked.frames, asked.baseline, share)
        found = feature_gradients(asked.pair, passed(asked.pair, at), answer)
        for row, gradients in zip(sums, found, strict=True):
            for gradient, way in zip(gradients, ways, strict=True):
                products = (gradient.float() * way.to(gradient.device)).sum(-1)
                row += weight * frame_sums(products, asked.frames)
    return {place: tuple(row) for place, row in zip(places, sums.tolist(), strict=True)}
