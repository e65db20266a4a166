"""Gradients times (features - mean feature), at the video and along the line from the mean feature.

From one point of the line to another what is explained changes by the difference of two answers. Where
the gradients between them do not add up to it, as where an answer jumps, more are taken there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from merit_opt.attribution.frames.asked import Asked, Said
from merit_opt.models.frames import between, frame_sums, levels_of
from merit_opt.models.gradient import feature_gradients, passed

POINTS = 4  # of one piece of the line
SHARE, LEAST = 0.05, 0.025  # by how much sums may miss; half of what a summary calls close

Place = tuple[str, int]
"""A sample's id, and the index of an option."""

Piece = tuple[float, float]
"""From where to where on the line; 0 is the mean feature and 1 the video."""


@dataclass(frozen=True, slots=True)
class Line:
    """How many gradients are taken along it, for one place.

    Attributes:
        steps: At first, rounded up to whole pieces of `POINTS`.
        most: In all, where those do not add up.
    """

    steps: int
    most: int

    @property
    def pieces(self) -> int:
        """So many at first."""
        return -(-self.steps // POINTS)

    @property
    def least(self) -> int:
        """So many gradients are taken in any case."""
        return self.pieces * POINTS


def at_the_video(asked: Asked, places: Sequence[Place]) -> Tensor:
    """float64 [places, frames]: the products there."""
    return _products(asked, places, [(1.0, 1.0)])


def along(asked: Asked, places: Sequence[Place], line: Line) -> Tensor:
    """float64 [places, frames]: the products' means along the line.

    Pieces that miss most are halved until what all of them miss is at most a twentieth of what is
    explained, or 0.025, or until there is no room for more.
    """
    walk = _Walk(asked, line.most)
    n = line.pieces
    todo = {(i / n, (i + 1) / n): list(places) for i in range(n)}
    while todo:
        for piece, own in todo.items():
            walk.measure(piece, own)
        todo = walk.halved(places)
    return torch.stack([walk.total(place) for place in places])


def quadrature(piece: Piece, points: int) -> list[tuple[float, float]]:
    """Points inside the piece with their weights: Gauss and Legendre's."""
    start, stop = piece
    found = zip(*np.polynomial.legendre.leggauss(points), strict=True)
    width = stop - start
    return [(start + width * 0.5 * (x + 1.0), width * 0.5 * w) for x, w in found]


@dataclass(frozen=True, eq=False, slots=True)
class _Walk:
    """What has been measured along the line.

    Attributes:
        asked: What is asked.
        most: Gradients of one place.
        rows: Place -> piece -> its products, float64 [frames].
        spent: Place -> gradients taken.
        said: Point -> the answers there.
    """

    asked: Asked
    most: int
    rows: dict[Place, dict[Piece, Tensor]] = field(
        default_factory=dict[Place, dict[Piece, Tensor]]
    )
    spent: dict[Place, int] = field(default_factory=dict[Place, int])
    said: dict[float, Said] = field(default_factory=dict[float, Said])

    def measure(self, piece: Piece, places: Sequence[Place]) -> None:
        """Take the gradients of one piece."""
        products = _products(self.asked, places, quadrature(piece, POINTS))
        for place, row in zip(places, products, strict=True):
            self.rows.setdefault(place, {})[piece] = row
            self.spent[place] = self.spent.get(place, 0) + POINTS

    def halved(self, places: Sequence[Place]) -> dict[Piece, list[Place]]:
        """Let go of the pieces that miss most: their halves, with the places that need them."""
        found = dict[Piece, list[Place]]()
        for place in places:
            for start, stop in self._unsettled(place):
                del self.rows[place][start, stop]
                middle = 0.5 * (start + stop)
                for half in ((start, middle), (middle, stop)):
                    found.setdefault(half, []).append(place)
        return found

    def total(self, place: Place) -> Tensor:
        """float64 [frames]."""
        return torch.stack(list(self.rows[place].values())).sum(0)

    def _unsettled(self, place: Place) -> list[Piece]:
        missed = {
            (start, stop): abs(float(row.sum()) - self._change(place, start, stop))
            for (start, stop), row in self.rows[place].items()
        }
        allowed = max(SHARE * abs(self._change(place, 0.0, 1.0)), LEAST)
        room = (self.most - self.spent[place]) // (2 * POINTS)
        return worst(missed, allowed, room)

    def _change(self, place: Place, start: float, stop: float) -> float:
        return self._value(place, stop) - self._value(place, start)

    def _value(self, place: Place, point: float) -> float:
        asked = self.asked
        if point not in self.said:
            there = between(asked.pack, asked.frames, asked.baseline, point)
            self.said[point] = asked.answers(there)
        name, option = place
        return float(self.said[point][name][option].double())


def worst(missed: Mapping[Piece, float], allowed: float, most: int) -> list[Piece]:
    """The fewest pieces without which the rest miss no more than is allowed; at most `most`."""
    left = sum(missed.values())
    found: list[Piece] = []
    for piece in sorted(missed, key=lambda one: (-missed[one], one)):
        if left <= allowed or len(found) >= most:
            break
        found.append(piece)
        left -= missed[piece]
    return found


def _products(
    asked: Asked, places: Sequence[Place], points: Sequence[tuple[float, float]]
) -> Tensor:
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
    return sums
