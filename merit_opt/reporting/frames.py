"""Samples whose answer the merge changed, with what they show."""

from collections.abc import Iterator

from merit_opt.reporting.answers import gained_lost
from merit_opt.reporting.blocks import Block, Facts, Picture, Section, Text
from merit_opt.reporting.facts import Flip, Model, StudyFacts
from merit_opt.reporting.figures.frames import draw_strip
from merit_opt.reporting.frame_evidence import frame_evidence
from merit_opt.reporting.frame_tables import METHODS

MODELS: tuple[tuple[Model, str], ...] = (("base", "base"), ("merged", "merged (winner)"))


def frames(facts: StudyFacts) -> Section:
    """The page's fifth section."""
    return Section(
        "frames", "Frames, and where answers changed", (*_attributed(facts), *_blocks(facts))
    )


def _attributed(facts: StudyFacts) -> Iterator[Block]:
    if run := facts.attribution.methods.get("frames"):
        yield from frame_evidence(run)


def _blocks(facts: StudyFacts) -> Iterator[Block]:
    if facts.answers is None:
        yield Text("Without samples files nothing is known of single answers.", "notice")
        return
    gained, lost, moved = gained_lost(facts.answers)
    flips = facts.flips
    yield Text(
        f"On confirm, {gained} answers became right with the winner, {lost} became wrong, and {moved} "
        f"went from one wrong answer to another; {len(flips.shown)} of them are shown."
    )
    if flips.missing:
        yield Text(flips.missing, "notice")
    if lacking := _without_heat(facts):
        yield Text(lacking, "notice")
    for number, flip in enumerate(flips.shown, start=1):
        yield from _flip(number, flip)


def _without_heat(facts: StudyFacts) -> str:
    """Why strips have no heat bars, and what adds them; empty where all have."""
    shown = facts.flips.shown
    bare = sum(not flip.method for flip in shown)
    if not bare:
        return ""
    hint = facts.commands.get("attribute_frames", "")
    if bare == len(shown):
        more = f" To add it: {hint}" if hint else ""
        return f"Attribution to frames was not measured for these samples.{more}"
    asked = _asked(facts)
    more = f" To add them, look at more: {hint} method.samples={2 * asked or 'N'}" if hint else ""
    return (
        f"{bare} of {len(shown)} shown {'was' if bare == 1 else 'were'} not among the samples that "
        f"attribution looked at, or could not be read, and so without heat bars.{more}"
    )


def _asked(facts: StudyFacts) -> int:
    """How many samples attribution to frames was asked for; 0 where nobody knows."""
    run = facts.attribution.methods.get("frames", {})
    return int(run.get("settings", {}).get("samples") or 0)


def _flip(number: int, flip: Flip) -> Iterator[Block]:
    base, merged = (flip.answers.get(model, "") for model, _ in MODELS)
    kept = {True: "became right", False: "became wrong"}
    turn = kept.get(merged == flip.right) if flip.right in (base, merged) else "still wrong"
    if flip.frames:
        yield Picture(
            name=f"sample-{number:02d}",
            title=f"{flip.role}, {turn}: {flip.question}",
            caption=_caption(flip),
            alt=f"{len(flip.frames)} frames of sample {flip.sample}.",
            data=_plain(flip),
            draw=lambda _: draw_strip(flip),
            facts=tuple(_facts(flip)),
            is_photo=True,
        )
    else:
        yield Text(f"{flip.role}, {turn}: {flip.question}")
        yield Facts(tuple(_facts(flip)))


def _caption(flip: Flip) -> str:
    evidence = any(frame.is_evidence for frame in flip.frames)
    framed = " A frame with a thick edge shows what the question needs." if evidence else ""
    if not flip.method:
        return f"Sample {flip.sample}.{framed}"
    return (
        f"Sample {flip.sample}. Below the frames: {METHODS.get(flip.method, flip.method)}, base above "
        f"merged; red speaks for the chosen answer, blue against it, each model on its own "
        f"scale.{framed}"
    )


def _facts(flip: Flip) -> Iterator[tuple[str, str]]:
    for i, (label, words) in enumerate(flip.options):
        marks = ["right answer"] if label == flip.right else []
        marks += [name for model, name in MODELS if flip.answers.get(model) == label]
        chances = [
            f"{name} {own[i]:.2f}"
            for model, name in (("base", "base"), ("merged", "merged"))
            if i < len(own := flip.probabilities.get(model, ()))  # type: ignore[arg-type]
        ]
        told = f" — {', '.join(marks)}" if marks else ""
        yield (
            label,
            f"{words}{told}" + (f" (probability: {', '.join(chances)})" if chances else ""),
        )
    if not flip.options:
        yield "right answer", flip.right
        for model, name in MODELS:
            yield name, flip.answers.get(model, "")


def _plain(flip: Flip) -> dict[str, object]:
    return {
        "sample": flip.sample,
        "role": flip.role,
        "right": flip.right,
        "answers": dict(flip.answers),
        "method": flip.method,
        "frames": [
            {"seconds": f.seconds, "heat": dict(f.heat), "evidence": f.is_evidence}
            for f in flip.frames
        ],
    }
