"""One question about what it shows, as values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
YES_NO = ("yes", "no")

Flag = Literal["duplicate options", "single option", "needs subtitles"]


@dataclass(frozen=True, slots=True)
class Media:
    """A video, a still image, or a folder of frames, by what `path` is.

    Attributes:
        path: Where it lies on this machine; not part of its identity.
        digest: Identity of its content.
        member: Its name inside the zip file that `path` then is.
        start: Seconds into the video before which nothing is shown; None: from its beginning.
        end: Seconds into the video after which nothing is shown; None: to its end.
        fps: Frames a second of a folder of frames, which has no time of its own.
    """

    path: Path
    digest: str
    member: str | None = None
    start: float | None = None
    end: float | None = None
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Cue:
    """A subtitle.

    Attributes:
        start: Seconds into the video.
        end: Seconds into the video.
        text: On one line, without markup.
    """

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Number:
    """A right answer that is a number.

    Attributes:
        value: What is right.
        tolerance: How far from it is still right, at least 0.
    """

    value: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One question with a right answer.

    Attributes:
        id: Unique within its suite; the benchmark's own, never a row's number.
        media: What the question is about; several are shown one after another.
        question: The question alone, without its options.
        options: Without their letters; none where the answer is a number.
        answer: Index of the right option, or the number.
        categories: (field, value) as the benchmark has them.
        group_id: Samples of one group share a medium and are never split apart.
        subtitles: In order of time.
        flags: What is odd about it, told by `check`.
        is_yes_no: Whether an answer is yes or no itself, instead of a letter; options are `YES_NO`.
        evidence: (start, end) in seconds into the video, the end left out, of what must be seen to
            answer; none where nobody knows. Shown to no model, and no part of a suite's digest.
    """

    id: str
    media: tuple[Media, ...]
    question: str
    options: tuple[str, ...]
    answer: int | Number
    categories: tuple[tuple[str, str], ...]
    group_id: str
    subtitles: tuple[Cue, ...] = ()
    flags: tuple[Flag, ...] = ()
    is_yes_no: bool = False
    evidence: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.answer, Number) != (not self.options):
            raise ValueError(
                f"sample {self.id}: a number is asked for without options, and only it"
            )
        if self.is_yes_no and self.options != YES_NO:
            raise ValueError(f"sample {self.id}: yes or no is asked for with other options")
        if isinstance(self.answer, int) and not 0 <= self.answer < len(self.options):
            raise ValueError(f"sample {self.id}: answer {self.answer} is not an option's index")

    def category(self, field: str) -> str | None:
        """The value of a field of `categories`, where the sample has it."""
        return dict(self.categories).get(field)

    @property
    def labels(self) -> tuple[str, ...]:
        """What an answer calls each option: its letter, or yes and no themselves."""
        return self.options if self.is_yes_no else tuple(LETTERS[: len(self.options)])

    @property
    def chance(self) -> float:
        """How often a guess is right."""
        return 1.0 / len(self.options) if self.options else 0.0
