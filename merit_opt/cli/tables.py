"""The short table a verb ends with."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from merit_opt.search.result import merged_layers


def show_study(console: Console, result: Mapping[str, Any]) -> None:
    """The final comparison of a study, from its result.json."""
    confirm, best = result["confirm"], result["best"]
    n = confirm["n"]
    table = Table(title=f"{result['study']}: on confirm ({n['TR']} TR, {n['TP']} TP questions)")
    for column in ("recipe", "TR", "TP", "objective", "best is above by"):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    _row(table, f"best (trial {best['number']})", confirm["best"], style="bold")
    _row(table, "base (the VLM as it is)", confirm["base"])
    for control in confirm["controls"]:
        _row(table, control["name"], control)
    if (gap := confirm["random_layers"]) is not None:
        table.add_row("random layers, mean", "", "", "", _gap_text(gap))
    console.print(table)
    for role, difference in confirm["difference"].items():
        console.print(f"best - base, {role}: {difference_text(difference)}", soft_wrap=True)
    console.print("\n".join(_layer_lines(best)))
    _show_prior(console, result.get("prior"))
    if stopped := result["trials"]["pruned"]:
        console.print(f"{stopped} proposals were stopped early: they could no longer win")
    if confirm["random_layers"] is None:
        console.print(
            "no random-layer controls: the time was up, none were asked for, or the winner's "
            "layers all have one coefficient",
            soft_wrap=True,
        )
    for name, why in confirm["failed"].items():
        console.print(f"{name} could not be measured: {why}")


def _show_prior(console: Console, prior: Mapping[str, Any] | None) -> None:
    if prior is not None:
        where = ", as trials of the study" if prior["source"] == "scan" else ""
        console.print(
            f"prior: {prior['source']}, at the cost of {prior['bill']:.1f} evaluations of the search "
            f"samples{where}",
            soft_wrap=True,
        )


def _layer_lines(best: Mapping[str, Any]) -> list[str]:
    told = merged_layers(best) or [("attention", "none: nothing beat the base")]
    return [f"merged layers ({parts} coefficient): {layers}" for parts, layers in told]


def size_text(size: float) -> str:
    """Bytes in the largest unit of which there is one."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def difference_text(difference: Mapping[str, float]) -> str:
    """A difference of accuracies with its interval, and whether it is significant."""
    low, high = difference["low"], difference["high"]
    verdict = "significant" if low > 0 or high < 0 else "not significant"
    return (
        f"{difference['estimate']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, "
        f"p = {difference['p']:.2g} ({verdict})"
    )


def _row(table: Table, name: str, scores: Mapping[str, Any], style: str = "") -> None:
    numbers = [f"{scores['TR']:.3f}", f"{scores['TP']:.3f}", f"{scores['objective']:+.3f}"]
    gap = _gap_text(scores["gap"]) if "gap" in scores else ""
    table.add_row(name, *numbers, gap, style=style)


def _gap_text(gap: Mapping[str, float]) -> str:
    return f"{gap['estimate']:.3f} [{gap['low']:.3f}, {gap['high']:.3f}]"
