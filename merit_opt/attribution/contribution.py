"""Whether layers contribute more once the model is merged."""

from collections.abc import Mapping, Sequence
from typing import Any

from merit_opt.attribution.effects import ROLES, significant
from merit_opt.evaluation.stats import paired_difference

Rows = Sequence[Mapping[str, Any]]


def contributions(rows: Rows, seed: int) -> list[dict[str, Any]]:
    """By variant and part: what masking one layer costs, over layers, in both models, in accuracy.

    `layers` are those whose masking lowers the score after Holm's correction. `difference` is how
    much more a layer's masking costs in the merged model, a layer a pair, with interval and p over
    layers; None where only one model was masked.

    Args:
        rows: Of the table of masks.
        seed: Of the resampling.
    """
    whole = [r for r in rows if r["head_group"] is None and r["unit"] == "accuracy"]
    kinds = dict.fromkeys((r["variant"], r["part"]) for r in whole if r["variant"] != "revert")
    return [
        {"variant": variant, "part": part, "role": role, **_of_role(own, seed)}
        for variant, part in kinds
        for role in ROLES
        if (own := _chosen(whole, variant=variant, part=part, role=role))
    ]


def _chosen(rows: Rows, **wanted: str) -> Rows:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _of_role(rows: Rows, seed: int) -> dict[str, Any]:
    sides = {m: own for m in ("base", "merged") if (own := _chosen(rows, model=m))}
    drops = {m: {str(r["layer"]): -r["difference"] for r in own} for m, own in sides.items()}
    found: dict[str, Any] = {m: _side(own, drops[m]) for m, own in sides.items()}
    found["difference"] = None
    if len(drops) == 2 and drops["base"].keys() & drops["merged"].keys():
        layers = {layer: layer for layer in drops["base"]}
        gap = paired_difference(drops["base"], drops["merged"], layers, seed)
        found["difference"] = {
            "estimate": gap.estimate, "low": gap.low, "high": gap.high, "p": gap.p, "n": gap.n,
        }  # fmt: skip
    return found


def _side(rows: Rows, drops: Mapping[str, float]) -> dict[str, Any]:
    stand = zip(rows, significant(rows), strict=True)
    return {
        "mean_drop": sum(drops.values()) / len(drops),
        "layers": [r["layer"] for r, holds in stand if holds and r["difference"] < 0],
    }
