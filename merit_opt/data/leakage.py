"""Media that two suites both show: what is searched on one is then no news to the other."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from merit_opt.data.copy import ABSENT
from merit_opt.data.sample import Media, Sample
from merit_opt.data.suite import Suite

How = Literal["content", "name"]
SHORTEST = 5


@dataclass(frozen=True, slots=True)
class SharedMedium:
    """A medium that two suites show.

    Attributes:
        name: Of its file, without folder and suffix, or of its group.
        how: `content` where both files are the same by digest, wherever they lie; `name` where only
            their names are, as of copies that were cut or compressed anew, or by chance.
        overlaps: Whether a window that one suite shows overlaps one that the other shows. A digest is
            of the whole file: two suites may show the same file and never the same second. Windows of
            files that are the same by name alone may be counted from another beginning.
        one: Ids of the samples of the one suite that show it.
        other: Ids of the samples of the other.
    """

    name: str
    how: How
    overlaps: bool
    one: tuple[str, ...]
    other: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leakage:
    """What two suites share.

    Attributes:
        one: The name of the one suite.
        other: The name of the other.
        media: What both show, by name; what is the same by content is not told by name again.
        samples_of_one: How many of the one's samples show any of it.
        samples_of_other: How many of the other's.
    """

    one: str
    other: str
    media: tuple[SharedMedium, ...]
    samples_of_one: int
    samples_of_other: int


def leakage(one: Suite, other: Suite) -> Leakage:
    """The media that both suites show.

    Media are the same whose content has one digest, or whose names are one: the file's name, or the
    group's, without folder and suffix, in any case. Names of fewer than five digits and nothing else
    tell nothing, nor do digests of files that are not there.
    """
    media = (*_shared(one, other, "content"), *_shared(one, other, "name"))
    known = {(m.one, m.other) for m in media if m.how == "content"}
    told = [m for m in media if m.how == "content" or (m.one, m.other) not in known]
    return Leakage(
        one=one.name,
        other=other.name,
        media=tuple(sorted(told, key=lambda m: (m.name, m.how, m.one))),
        samples_of_one=len({i for m in told for i in m.one}),
        samples_of_other=len({i for m in told for i in m.other}),
    )


def medium_names(sample: Sample, medium: Media) -> frozenset[str]:
    """What a medium may be called elsewhere; none where its name would tell nothing."""
    files = (medium.member or medium.path.as_posix(), sample.group_id)
    names = (PurePosixPath(file).stem.casefold() for file in files)
    return frozenset(n for n in names if n and not (n.isdecimal() and len(n) < SHORTEST))


def _shared(one: Suite, other: Suite, how: How) -> Iterator[SharedMedium]:
    shown, shown_other = _shown(one, how), _shown(other, how)
    for key in sorted(shown.keys() & shown_other.keys()):
        first, second = shown[key], shown_other[key]
        yield SharedMedium(
            name=key if how == "name" else min(_name(m) for _, m in first),
            how=how,
            overlaps=any(_overlap(a, b) for _, a in first for _, b in second),
            one=tuple(dict.fromkeys(sample.id for sample, _ in first)),
            other=tuple(dict.fromkeys(sample.id for sample, _ in second)),
        )


def _shown(suite: Suite, how: How) -> Mapping[str, list[tuple[Sample, Media]]]:
    found: dict[str, list[tuple[Sample, Media]]] = defaultdict(list)
    for sample in suite.samples:
        for medium in sample.media:
            for key in _keys(sample, medium, how):
                found[key].append((sample, medium))
    return found


def _keys(sample: Sample, medium: Media, how: How) -> frozenset[str]:
    if how == "name":
        return medium_names(sample, medium)
    return frozenset[str]() if medium.digest.startswith(ABSENT) else frozenset({medium.digest})


def _name(medium: Media) -> str:
    return PurePosixPath(medium.member or medium.path.as_posix()).stem


def _overlap(a: Media, b: Media) -> bool:
    starts = max(a.start or 0.0, b.start or 0.0)
    ends = [m.end for m in (a, b) if m.end is not None]
    return not ends or starts < min(ends)
