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
