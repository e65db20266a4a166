"""What `merit-opt check` says of a suite and of the files that it shows."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches

from merit_opt.cli.check_pair import WARNING
from merit_opt.cli.progress import Display
from merit_opt.data.media.bounds import require_total
from merit_opt.data.media.decode_pool import DecodePool, MediaSettings
from merit_opt.data.media.frames import FramePlan, choose_frames
from merit_opt.data.media.image import Image
from merit_opt.data.media.medium import Medium
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.media.status import MediaError
from merit_opt.data.media.timeline import even_times
from merit_opt.data.media.unpacked import shown_path
from merit_opt.data.sample import Media, Sample
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.models.footprint import ImageShape, MediumShape, VideoShape

MOST_VALUES = 30
TOLD = 10


def suite_lines(suite: Suite) -> Iterator[str]:
    """Samples, what is left out, roles, categories, options, right answers and flags."""
    media = {s.media for s in suite.samples}
    yield f"{suite.name}, {len(suite.samples)} samples on {len(media)} media"
    yield from _published_lines(suite)
    for reason, n in Counter(suite.left_out.values()).most_common():
        example = next(i for i, why in suite.left_out.items() if why == reason)
        yield f"left out: {n}, such as {example}: {reason}"
    yield "roles: " + _counts(suite.role(s) for s in suite.samples)
    yield from _role_lines(suite)
    yield from _category_lines(suite)
    yield "options: " + _counts(f"{len(s.options)}" for s in suite.samples)
    yield "right answers: " + _counts(_right(s) for s in suite.samples)
    if any(s.flags for s in suite.samples):
        yield "flags: " + _counts(flag for s in suite.samples for flag in s.flags)
    if any(s.subtitles for s in suite.samples):
        yield f"subtitles: of {sum(bool(s.subtitles) for s in suite.samples)} samples"


def _published_lines(suite: Suite) -> Iterator[str]:
    rows = len(suite.samples) + len(suite.left_out)
    if suite.published is None:
        return
    if rows == suite.published:
        yield f"{rows} rows, as published"
    else:
        yield (
            f"{WARNING}{suite.name} has {rows} rows, published are {suite.published}: a part, "
            "another revision, or a selection"
        )


def _role_lines(suite: Suite) -> Iterator[str]:
    """Values that roles are of and no sample has; in small letters, as some copies have others."""
    field = suite.roles.category
    known = {(s.category(field) or "").casefold(): s.category(field) for s in suite.samples}
    for value in suite.roles.of:
        if value.casefold() not in known:
            near = get_close_matches(value, (v for v in known.values() if v), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield f"{WARNING}no sample has {field} {value!r}, which suite.roles names{hint}"


def _category_lines(suite: Suite) -> Iterator[str]:
    fields = dict.fromkeys(field for s in suite.samples for field, _ in s.categories)
    for field in fields:
        values = [v for s in suite.samples if (v := s.category(field)) is not None]
        if len(set(values)) <= MOST_VALUES:
            yield f"{field}: {_counts(values)}"


def _right(sample: Sample) -> str:
    return sample.labels[sample.answer] if isinstance(sample.answer, int) else "a number"


def _counts(values: Iterable[str]) -> str:
    return ", ".join(f"{value} {n}" for value, n in sorted(Counter(values).items()))


def media_lines(
    suite: Suite,
    settings: MediaSettings,
    quarantine: Quarantine,
    shapes: list[MediumShape],
    shown: Display,
) -> Iterator[str]:
    """What is amiss with the files; the shapes of those that can be read are added to `shapes`.

    Raises:
        UserError: More samples than `suite.max_unusable` allows show what cannot be read.
    """
    plan = suite.asking.frames
    media = tuple(dict.fromkeys(s.media for s in suite.samples))
    broken: dict[tuple[Media, ...], str] = {}
    with DecodePool(media, replace(plan, mode="uniform", count=1), settings, quarantine) as pool:
        for done, one in enumerate(media):
            shown.stage(f"looking at {suite.name} media", done, len(media))
            try:
                medium = pool.take(one)
                shapes.append(_shape(medium, plan, one))
            except MediaError as error:
                broken[one] = str(error)
                continue
            if medium.status.kind != "ok":
                yield f"{shown_path(one[0])}: {medium.status}"
    yield from _quarantine_lines(quarantine)
    yield from _broken_lines(suite, broken, len(media))


def _broken_lines(suite: Suite, broken: dict[tuple[Media, ...], str], media: int) -> Iterator[str]:
    if not broken:
        return
    samples = sum(s.media in broken for s in suite.samples)
    reasons = list(dict.fromkeys(broken.values()))
    more = f"; and {len(reasons) - TOLD} more" if len(reasons) > TOLD else ""
    told = (
        f"{len(broken)} of {media} media, which {samples} of {len(suite.samples)} samples show: "
        f"{'; '.join(reasons[:TOLD])}{more}"
    )
    if samples > suite.max_unusable * len(suite.samples):
        raise UserError(f"{told} (more than suite.max_unusable={suite.max_unusable:g} allows)")
    yield f"{WARNING}{told}"


def _quarantine_lines(quarantine: Quarantine) -> Iterator[str]:
    entries = quarantine.entries.values()
    for one in entries:
        yield f"not read again: {', '.join(one.media)}: {one.reason} ({one.time})"
    if entries:
        yield f"to read them again, delete {quarantine.path}"


def _shape(medium: Medium, plan: FramePlan, media: tuple[Media, ...]) -> MediumShape:
    """As it will be read; of several media, as if all lasted equally long.

    Raises:
        MediaError: It will be too large to be read.
    """
    if isinstance(medium, Image):
        return ImageShape(*medium.pixels.shape[:2])
    height, width = medium.frames.shape[1:3]
    sampling = medium.sampling
    times = even_times(max(1, sampling.total // len(media)), sampling.fps)
    count = len(choose_frames(times, plan, None, None)) * len(media)
    try:
        require_total(count, height, width)
    except ValueError as error:
        raise MediaError(shown_path(media[0]), str(error)) from error
    return VideoShape(count, height, width, sampling.fps)
