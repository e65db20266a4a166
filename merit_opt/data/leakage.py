"""Media that were searched on and are shown again: what is found on one is then no news to the other."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from merit_opt.data.dataset_copy import ABSENT
from merit_opt.data.sample import Media, Sample
from merit_opt.data.suite import Suite

How = Literal["content", "name"]
SHORTEST = 6


@dataclass(frozen=True, slots=True)
class ShownMedium:
    """A medium of a suite, as it may be known elsewhere.

    Attributes:
        names: Of its file and its group, without folder and suffix, in small letters; none that
            would tell nothing.
        digest: Of its content; empty where it is not there.
        start: Seconds from which it is shown; None: from its beginning.
        end: Seconds to which it is shown; None: to its end.
    """

    names: tuple[str, ...]
    digest: str
    start: float | None
    end: float | None


@dataclass(frozen=True, slots=True)
class SharedMedium:
    """A medium that was searched on and is shown again.

    Attributes:
        name: Of its file here, without folder and suffix.
        how: `content` where both files are the same by digest, wherever they lie; `name` where only
            their names are, as of copies that were cut or compressed anew, or by chance.
        overlaps: Whether what is shown here overlaps what was shown there. A digest is of the whole
            file: two suites may show the same file and never the same second. Windows of files that
            are the same by name alone may be counted from another beginning.
        samples: Ids of the samples here that show it.
    """

    name: str
    how: How
    overlaps: bool
    samples: tuple[str, ...]


def shown_media(suite: Suite) -> tuple[ShownMedium, ...]:
    """Every medium of a suite, each window of it once."""
    pairs = ((sample, medium) for sample in suite.samples for medium in sample.media)
    return tuple(dict.fromkeys(_shown(sample, medium) for sample, medium in pairs))


def media_of_rows(rows: Iterable[Mapping[str, Any]]) -> tuple[ShownMedium, ...]:
    """Media as `asdict` and JSON leave them.

    Raises:
        KeyError: A row lacks a field.
        TypeError: The rows are none.
    """
    return tuple(
        ShownMedium(tuple(row["names"]), row["digest"], row["start"], row["end"]) for row in rows
    )


def leakage(searched: Iterable[ShownMedium], suite: Suite) -> tuple[SharedMedium, ...]:
    """The media of a suite that were searched on, in order of their names.

    Media are the same whose content has one digest, or whose names are one: the file's name, or the
    group's, without folder and suffix, in any case. Names of fewer than six digits and nothing else
    tell nothing, nor do digests of files that are not there. What is the same by content is not told
    by name again.
    """
    by_digest, by_name = _indexed(searched)
    told: dict[tuple[str, How], SharedMedium] = {}
    for sample in suite.samples:
        for medium in sample.media:
            here = _shown(sample, medium)
            known = by_digest.get(here.digest, ()) if here.digest else ()
            how: How = "content" if known else "name"
            known = known or [m for name in here.names for m in by_name.get(name, ())]
            if known:
                key = (_name(medium), how)
                overlaps = any(_overlap(here, there) for there in known)
                told[key] = _with(told.get(key), key, sample.id, overlaps=overlaps)
    return tuple(told[key] for key in sorted(told))


def _with(
    before: SharedMedium | None, key: tuple[str, How], sample_id: str, *, overlaps: bool
) -> SharedMedium:
    if before is None:
        return SharedMedium(*key, overlaps, (sample_id,))
    ids = tuple(dict.fromkeys((*before.samples, sample_id)))
    return SharedMedium(*key, before.overlaps or overlaps, ids)


def _indexed(
    searched: Iterable[ShownMedium],
) -> tuple[Mapping[str, list[ShownMedium]], Mapping[str, list[ShownMedium]]]:
    by_digest: dict[str, list[ShownMedium]] = defaultdict(list)
    by_name: dict[str, list[ShownMedium]] = defaultdict(list)
    for medium in searched:
        by_digest[medium.digest].append(medium)
        for name in medium.names:
            by_name[name].append(medium)
    return by_digest, by_name


def _shown(sample: Sample, medium: Media) -> ShownMedium:
    digest = "" if medium.digest.startswith(ABSENT) else medium.digest
    return ShownMedium(
        tuple(sorted(set(_names(sample, medium)))), digest, medium.start, medium.end
    )


def _names(sample: Sample, medium: Media) -> Iterator[str]:
    for name in (_name(medium), PurePosixPath(sample.group_id).stem):
        if name and not (name.isdecimal() and len(name) < SHORTEST):
            yield name.casefold()


def _name(medium: Media) -> str:
    return PurePosixPath(medium.member or medium.path.as_posix()).stem


def _overlap(a: ShownMedium, b: ShownMedium) -> bool:
    starts = max(a.start or 0.0, b.start or 0.0)
    ends = [m.end for m in (a, b) if m.end is not None]
    return not ends or starts < min(ends)
