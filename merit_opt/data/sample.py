"""One question about one medium, as values."""

from dataclasses import dataclass
from pathlib import Path

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class Media:
    """A video, or a still image where the file's suffix says so.

    Attributes:
        path: Where it lies on this machine; not part of its identity.
        digest: Identity of its content.
    """

    path: Path
    digest: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One multiple-choice question.

    Attributes:
        id: Unique within its suite.
        media: What the question is about.
        question: The question alone, without its options.
        options: At least two, distinct.
        answer: Index of the right option.
        categories: The benchmark's own labels; a suite maps the first to a role.
        group_id: Samples of one group share a medium and are never split apart.
    """

    id: str
    media: tuple[Media, ...]
    question: str
    options: tuple[str, ...]
    answer: int
    categories: tuple[str, ...]
    group_id: str

    def __post_init__(self) -> None:
        if len(set(self.options)) != len(self.options) or len(self.options) < 2:
            raise ValueError(f"sample {self.id}: needs two or more distinct options")
        if not 0 <= self.answer < len(self.options):
            raise ValueError(f"sample {self.id}: answer {self.answer} is not an option's index")

    @property
    def letter(self) -> str:
        """The right option's letter."""
        return LETTERS[self.answer]
