"""What the study cost, and what its shortcuts saved."""

from collections.abc import Iterator, Sequence
from statistics import median

from merit_opt.reporting.blocks import Block, Picture, Section, TableBlock, Text
from merit_opt.reporting.facts import StudyFacts
from merit_opt.reporting.figures.cost import Costs, draw_costs
from merit_opt.reporting.tables import Cell, Column, Table
from merit_opt.tracking.record import TrialRecord


def cost(facts: StudyFacts) -> Section:
    """The page's sixth section."""
    return Section("cost", "What it cost", tuple(_blocks(facts.study.trials)))


def _blocks(records: Sequence[TrialRecord]) -> Iterator[Block]:
    found = costs(records)
    if not any(found.flops):
        yield Text("No trial says what it cost.", "notice")
        return
    yield Picture(
        name="cost",
        title="Operations and seconds of each trial",
        caption=(
            "Matrix products alone. What was saved is an estimate: by starting at the first merged "
            "layer, from the share of rows and layers whose result was known; by stopping early, from "
            "the questions not asked; by known scores, from the median trial."
        ),
        alt="Floating-point operations done and saved, and seconds, of each trial.",
        data=found,
        draw=draw_costs,
    )
    yield TableBlock(_table(found, records))


def costs(records: Sequence[TrialRecord]) -> Costs:
    """By trial, in the order of their numbers."""
    whole = [_whole(r) for r in records if r.cost.get("flops")]
    usual = median(whole) if whole else 0.0
    return Costs(
        numbers=tuple(r.number for r in records),
        seconds=tuple(r.seconds.get("evaluate", 0.0) for r in records),
        flops=tuple(r.cost.get("flops", 0.0) for r in records),
        prefix=tuple(_prefix(r) for r in records),
        curtailed=tuple(_curtailed(r) for r in records),
        cached=tuple(usual if r.cached else 0.0 for r in records),
    )


def _prefix(record: TrialRecord) -> float:
    share = record.cost.get("layers_skipped", 0.0)
    return record.cost.get("flops", 0.0) * share / (1.0 - share) if share < 1.0 else 0.0


def _curtailed(record: TrialRecord) -> float:
    asked, saved = (record.cost.get(key, 0.0) for key in ("questions", "questions_saved"))
    done = record.cost.get("flops", 0.0) + _prefix(record)
    return done * saved / asked if asked else 0.0


def _whole(record: TrialRecord) -> float:
    return record.cost.get("flops", 0.0) + _prefix(record) + _curtailed(record)


def _table(found: Costs, records: Sequence[TrialRecord]) -> Table:
    saved = {
        "saved by starting at the first merged layer": found.prefix,
        "saved by stopping early": found.curtailed,
        "saved by known scores": found.cached,
    }
    done = sum(found.flops)
    whole = done + sum(sum(values) for values in saved.values())
    measured = [r for r in records if r.cost]
    rows: list[tuple[Cell, ...]] = [
        (
            "done",
            len(measured),
            round(sum(found.seconds), 1),
            _median([r.seconds.get("evaluate", 0.0) for r in measured]),
            done,
            done / whole,
        )
    ]
    rows += [
        (name, sum(v > 0.0 for v in values), None, None, sum(values), sum(values) / whole)
        for name, values in saved.items()
    ]
    columns = (
        Column("what", "what"),
        Column("trials", "trials", "count"),
        Column("seconds", "seconds", "number"),
        Column("median_seconds", "median s a trial", "number"),
        Column("flop", "FLOP", "number"),
        Column("share", "share", "share"),
    )
    known = sum(r.cached for r in records)
    were = "1 trial was" if known == 1 else f"{known} trials were"
    note = f"{were} answered by the cache and cost nothing."
    return Table("cost", "Of the whole search", columns, tuple(rows), note)


def _median(values: Sequence[float]) -> float | None:
    return round(median(values), 3) if values else None
