"""Subtitle files to cues: SRT, WebVTT, and LongVideoBench's JSON."""

from merit_opt.data.sample import Cue


def read_subtitles(name: str, content: bytes, offset: float) -> tuple[Cue, ...]:
    """The cues of a subtitle file, in order of time, without markup.

    Args:
        name: Its suffix says what it is.
        content: The file's bytes.
        offset: Seconds taken off every time; what then ends before 0 is dropped.
    """
    raise NotImplementedError


def cues_at(cues: tuple[Cue, ...], times: tuple[float, ...]) -> tuple[Cue, ...]:
    """The cues that are shown at one of the times at least, each once, in order of time."""
    return tuple(cue for cue in cues if any(cue.start <= time <= cue.end for time in times))
