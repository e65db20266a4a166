"""Frames of the samples whose answer the merge changed, read again from their media."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from merit_opt.cli.parts import Stage
from merit_opt.data.clips.evidence import evidence_frames
from merit_opt.data.media.decode_pool import DecodePool, MediaSettings
from merit_opt.data.media.image import Image
from merit_opt.data.media.medium import Medium
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.media.status import MediaError
from merit_opt.data.sample import Number, Sample
from merit_opt.data.suite import Suite
from merit_opt.reporting.answers import flipped
from merit_opt.reporting.facts import Answers, Flip, Flips, Frame, Model, Row

MOST_FRAMES, TALLEST = 16, 200
METHODS = ("occlusion_hidden", "occlusion_mean", "integrated", "gradient")
# Of what is shown: how many that became right for each that became wrong.
RIGHT_OF_THREE = 2


@dataclass(frozen=True, slots=True)
class Heat:
    """Attribution to the temporal patches of one sample.

    Attributes:
        method: By which it was measured.
        patches: Start, end, and attribution by model, in order of time.
        evidence: Of each patch; None where nobody knows.
    """

    method: str
    patches: tuple[tuple[float, float, Mapping[Model, float]], ...]
    evidence: tuple[bool | None, ...]


def flips(
    answers: Answers,
    suite: Suite | str,
    heat: Sequence[Row],
    most: int,
    reading: tuple[MediaSettings, Quarantine, Stage],
) -> Flips:
    """The samples with their frames, or without and why.

    Args:
        answers: Of both models.
        suite: Which has the samples; or why there is none, in a sentence.
        heat: Rows of the attribution to frames; may be empty.
        most: How many samples are shown.
        reading: How media are read, which are not, and who is told how far it is.
    """
    heats = _heats(heat)
    chosen = chosen_flips(answers, most, heats)
    if isinstance(suite, str):
        return Flips(missing=suite)
    samples = {sample.id: sample for sample in suite.samples}
    known = [(samples[base["sample"]], base, merged) for base, merged in chosen]
    settings, quarantine, stage = reading
    shown: list[Flip] = []
    failed: list[str] = []
    media = [sample.media for sample, _, _ in known]
    with DecodePool(media, suite.asking.frames, settings, quarantine) as pool:
        for done, (sample, base, merged) in enumerate(known):
            stage("reading frames", done, len(known))
            own = heats.get(sample.id)
            try:
                frames = tuple(_frames(pool.take(sample.media), sample, suite.name, own))
            except MediaError as error:
                failed.append(str(error))
                frames = ()
            shown.append(_flip(sample, (base, merged), suite.role(sample), frames, own))
    why = f"Media of {len(failed)} samples cannot be read any more: {failed[0]}." if failed else ""
    return Flips(tuple(shown), why)


def chosen_flips(
    answers: Answers, most: int, heats: Mapping[str, object]
) -> list[tuple[Row, Row]]:
    """Two that became right for each that became wrong, as far as there are; with heat first."""
    every = sorted(flipped(answers), key=lambda pair: pair[0]["sample"] not in heats)
    gained, lost, moved = (
        [pair for pair in every if pair[1]["value"] - pair[0]["value"] == gain]
        for gain in (1.0, -1.0, 0.0)
    )
    room = max(most - len(lost), -(-most * RIGHT_OF_THREE // 3))
    first = gained[:room]
    return [*first, *lost, *moved, *gained[room:]][:most]


def _heats(rows: Sequence[Row]) -> dict[str, Heat]:
    by_sample: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("target", "chosen") == "chosen":
            by_sample.setdefault(row["sample"], []).append(row)
    return {sample: _heat(own) for sample, own in by_sample.items()}


def _heat(rows: Sequence[Row]) -> Heat:
    method = min((row["method"] for row in rows), key=lambda m: (*METHODS, m).index(m))
    patches: dict[int, tuple[float, float, dict[Model, float], bool | None]] = {}
    for row in rows:
        if row["method"] == method:
            place = (float(row["start_s"]), float(row["end_s"]), {}, row.get("evidence"))
            patches.setdefault(row["frame"], place)[2][row["model"]] = float(row["attribution"])
    ordered = [patches[i] for i in sorted(patches)]
    return Heat(
        method,
        tuple((start, end, own) for start, end, own, _ in ordered),
        tuple(evidence for *_, evidence in ordered),
    )


def _frames(medium: Medium, sample: Sample, suite: str, heat: Heat | None) -> Iterator[Frame]:
    if isinstance(medium, Image):
        yield Frame(0.0, _small(medium.pixels))
        return
    times, indices = medium.sampling.times, medium.sampling.indices
    evidence = frozenset(evidence_frames(sample)) if suite == "clips" else None
    for place in _places(times, heat):
        found = None if heat is None else _patch(heat, times[place])
        known = None if evidence is None else indices[place] in evidence
        if heat is not None and found is not None and heat.evidence[found] is not None:
            known = heat.evidence[found]
        own = {} if heat is None or found is None else heat.patches[found][2]
        yield Frame(times[place], _small(medium.frames[place]), own, known)


def _places(times: Sequence[float], heat: Heat | None) -> list[int]:
    """Which frames are shown: one of each patch, or evenly spread ones."""
    places = list(range(len(times)))
    if heat is not None:
        first: dict[int, int] = {}
        for place, time in enumerate(times):
            if (patch := _patch(heat, time)) is not None:
                first.setdefault(patch, place)
        places = list(first.values()) or places
    if len(places) <= MOST_FRAMES:
        return places
    return [places[i] for i in np.linspace(0, len(places) - 1, MOST_FRAMES).round().astype(int)]


def _patch(heat: Heat, time: float) -> int | None:
    inside = (i for i, (start, end, _) in enumerate(heat.patches) if start - 1e-6 <= time < end)
    return next(inside, None)


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if height <= TALLEST:
        return pixels
    size = max(1, round(width * TALLEST / height)), TALLEST
    return np.asarray(Pillow.fromarray(pixels).resize(size))


def _flip(
    sample: Sample,
    rows: tuple[Row, Row],
    role: str,
    frames: tuple[Frame, ...],
    heat: Heat | None,
) -> Flip:
    models: tuple[Model, Model] = ("base", "merged")
    right = sample.answer
    return Flip(
        sample=sample.id,
        role=role,
        question=sample.question,
        options=tuple(zip(sample.labels, sample.options, strict=True)),
        right=f"{right.value:.15g}" if isinstance(right, Number) else sample.labels[right],
        answers={m: row["answer"] or "" for m, row in zip(models, rows, strict=True)},
        probabilities={
            m: tuple(row.get("probabilities") or ()) for m, row in zip(models, rows, strict=True)
        },
        frames=frames,
        method=heat.method if heat is not None and any(f.heat for f in frames) else "",
    )
