"""The short table a verb ends with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from merit_opt.evaluation.stats import verdict
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
    if result["front"] is not None:
        console.print(_front(result))
    if confirm["top"]:
        console.print(_top(confirm["top"]))
    for line in _lines(result):
        console.print(line, soft_wrap=True)


def _top(top: Sequence[Mapping[str, Any]]) -> Table:
    """The search's best where its luck does not follow them."""
    table = Table(title="the search's best: objective where they were chosen, and on confirm")
    for column in ("trial", "in search", "on confirm", "TR - base, 95 % interval", "p (Holm)", ""):
        table.add_column(column, justify="right" if column else "left")
    for one in top:
        table.add_row(
            str(one["number"]),
            f"{one['search_objective']:+.3f}",
            f"{one['objective']:+.3f}",
            _signed_gap_text(one["difference"]),
            f"{one['p_holm']:.2g}",
            one["verdict"],
        )
    return table


def _front(result: Mapping[str, Any]) -> Table:
    """The trials that no other beats in both gains, the picked one marked."""
    pick, best = result["choice"], result["best"]
    within = f", epsilon={pick['epsilon']:g}" if pick["how"] == "tp_loss" else ""
    table = Table(
        title=f"front of the search ({len(result['front'])}; pick={pick['how']}{within})"
    )
    for column in ("trial", "TR gain", "TP gain", "TR", "TP", "recipe", ""):
        table.add_column(column, justify="left" if column == "recipe" else "right")
    for one in result["front"]:
        gains = (f"{value:+.3f}" for value in one["values"])
        mark = "picked" if one["number"] == best["number"] else ""
        scores = (f"{one['TR']:.3f}", f"{one['TP']:.3f}")
        table.add_row(str(one["number"]), *gains, *scores, one["digest"], mark)
    return table


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    confirm, best, trials = result["confirm"], result["best"], result["trials"]
    for role, difference in confirm["difference"].items():
        yield f"best - base, {role}: {difference_text(difference)}"
    yield from _layer_lines(best)
    yield from _prior_lines(result["prior"])
    yield from result["remarks"]
    if cached := trials["cached"]:
        yield f"{cached} of {trials['complete']} trials were answered by the cache and cost nothing"
    if confirm["random_layers"] is None:
        yield (
            "no random-layer controls: the time was up, none were asked for, or the winner's "
            "layers all have one coefficient"
        )
    for name, why in confirm["failed"].items():
        yield f"{name} could not be measured: {why}"


def _prior_lines(prior: Mapping[str, Any] | None) -> Iterator[str]:
    if prior is not None:
        where = ", as trials of the study" if prior["source"] == "scan" else ""
        yield (
            f"prior: {prior['source']}, at the cost of {prior['bill']:.1f} evaluations of the search "
            f"samples{where}"
        )


def _layer_lines(best: Mapping[str, Any]) -> list[str]:
    told = merged_layers(best) or [("attention", "none: nothing beat the base")]
    return [f"merged layers ({parts} coefficient): {layers}" for parts, layers in told]


def difference_text(difference: Mapping[str, Any]) -> str:
    """A difference of accuracies with its interval, and whether it is significant."""
    low, high, p = (difference[key] for key in ("low", "high", "p"))
    corrected = difference.get("p_holm")
    after = "" if corrected is None else f", {corrected:.2g} after Holm"
    decisive = p if corrected is None else corrected
    return (
        f"{difference['estimate']:+.3f}, 95 % interval {low:+.3f} to {high:+.3f}, "
        f"p = {p:.2g}{after} ({verdict(low, high, decisive)})"
    )


def _row(table: Table, name: str, scores: Mapping[str, Any], style: str = "") -> None:
    numbers = [f"{scores['TR']:.3f}", f"{scores['TP']:.3f}", f"{scores['objective']:+.3f}"]
    gap = _gap_text(scores["gap"]) if "gap" in scores else ""
    table.add_row(name, *numbers, gap, style=style)


def _signed_gap_text(gap: Mapping[str, float]) -> str:
    return f"{gap['estimate']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"


def _gap_text(gap: Mapping[str, float]) -> str:
    return f"{gap['estimate']:.3f} [{gap['low']:.3f}, {gap['high']:.3f}]"
