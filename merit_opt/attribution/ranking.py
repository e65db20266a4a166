"""Rows of layers in order: as a summary keeps them, and as a person reads them."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from merit_opt.attribution.effects import Place, signed, significant
from merit_opt.attribution.method import Shown

SHOWN = 8


def ranked(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """By variant, model, part, coefficient and role: the layers, the greatest difference first.

    In probability where there is one, else in accuracy; beside them those whose accuracy changes
    after Holm's correction over the layers.
    """
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for one in rows:
        if one["head_group"] is None:
            key = tuple(one[k] for k in ("variant", "model", "part", "coefficient", "role"))
            groups.setdefault(key, []).append(one)
    found: list[dict[str, Any]] = []
    for key, own in groups.items():
        accuracies = [one for one in own if one["unit"] == "accuracy"]
        smooth = [one for one in own if one["unit"] == "probability"] or accuracies
        order = sorted(smooth, key=lambda one: -one["difference"])
        stand = significant(accuracies)
        names = ("variant", "model", "part", "coefficient", "role")
        found.append(
            {
                **dict(zip(names, key, strict=True)),
                "order": [one["layer"] for one in order],
                "raise": _layers(accuracies, stand, is_up=True),
                "lower": _layers(accuracies, stand, is_up=False),
            }
        )
    return found


def _layers(rows: Sequence[Mapping[str, Any]], stand: Sequence[bool], *, is_up: bool) -> list[int]:
    pairs = zip(rows, stand, strict=True)
    return [one["layer"] for one, holds in pairs if holds and (one["difference"] > 0) == is_up]


def shown_layers(title: str, rows: Sequence[Mapping[str, Any]]) -> Shown:
    """The greatest changes of TR accuracy either way, with the TP change beside each."""
    places: dict[Place, dict[str, Mapping[str, Any]]] = {}
    names = [field.name for field in fields(Place)]
    for one in (one for one in rows if one["unit"] == "accuracy"):
        place = Place(**{name: one[name] for name in names})
        places.setdefault(place, {})[one["role"]] = one
    order = sorted(places.items(), key=lambda item: -abs(item[1]["TR"]["difference"]))
    told = tuple((p.name, signed(own["TR"]), signed(own["TP"])) for p, own in order[:SHOWN])
    more = f"the {SHOWN} that move TR most, of {len(order)}; all are in the table on disk"
    return Shown(title, ("", "TR", "TP"), told, (more,) if len(order) > SHOWN else ())
