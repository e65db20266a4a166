"""What tiny models are taught: questions and captions of scenes and clips as token ids."""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from merit_opt.data.clips.questions import NUMBERS, Question, draw_questions
from merit_opt.data.clips.scene import ACTIONS, COLOURS, SHAPES, Events
from merit_opt.data.prompts import letter_after_option
from merit_opt.data.sample import LETTERS
from merit_opt.data.suite import Role

PROBE = "describe"
FAMILIES = (COLOURS, SHAPES, ACTIONS)
NAMED = frozenset(word for family in (*FAMILIES, NUMBERS) for word in family)


@dataclass(frozen=True, slots=True)
class Lesson:
    """Something said after the video, and what has to follow it.

    Attributes:
        prompt: Token ids up to where the answer begins.
        answer: Token ids to be predicted one after another.
        meant: The words that they stand for: of a letter its option, of a word itself.
        named: What the question is about, as the colour in "action of red ?"; None if nothing.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    meant: tuple[int, ...]
    named: int | None


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes lessons in the words and the chat format of a processor.

    Attributes:
        vocabulary: Word -> token id; every word is one token.
        opening: Token ids of the chat before the video.
        closing: Token ids between the user's words and the answer.
    """

    vocabulary: dict[str, int]
    opening: tuple[int, ...]
    closing: tuple[int, ...]

    @classmethod
    def of(cls, processor: Any) -> Self:
        """Read words and chat format from a processor."""
        content = [{"type": "video"}, {"type": "text", "text": PROBE}]
        chat = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        opening, _, rest = chat.partition(processor.video_token)
        start, _, closing = rest.partition(PROBE)
        tokenizer = processor.tokenizer
        return cls(
            vocabulary=dict(tokenizer.get_vocab()),
            opening=(*tokenizer.encode(opening), processor.video_token_id,
                     *tokenizer.encode(start)),
            closing=tuple(tokenizer.encode(closing)),
        )  # fmt: skip

    def letter(self, question: Question, rng: random.Random) -> Lesson:
        """A question with its options, answered by a letter."""
        options = rng.sample([*question.distractors(rng), question.answer], 4)
        right = LETTERS[options.index(question.answer)]
        said = letter_after_option(question.text, tuple(options))
        return self._lesson(said, right, question.answer)

    def word(self, question: Question) -> Lesson:
        """A question without options, answered by its word."""
        return self._lesson(question.text, question.answer, question.answer)

    def caption(self, events: Events) -> Lesson:
        """All events told in order."""
        told = " ".join(f"{e.colour} {e.shape} {e.action} ." for e in events)
        return self._lesson(PROBE, told, told)

    def letters(
        self, events: Events, *, role: Role, count: int, rng: random.Random
    ) -> tuple[Lesson, ...]:
        """`count` different questions of a role, each answered by a letter."""
        drawn = draw_questions(events, role=role, count=count, rng=rng)
        return tuple(self.letter(question, rng) for question in drawn)

    def mixed(
        self, events: Events, *, role: Role, count: int, words: float, rng: random.Random
    ) -> tuple[Lesson, ...]:
        """`count` different questions of a role, a share `words` of them answered by words."""
        drawn = draw_questions(events, role=role, count=count, rng=rng)
        return tuple(self.word(q) if rng.random() < words else self.letter(q, rng) for q in drawn)

    def ids(self, words: Iterable[str]) -> tuple[int, ...]:
        """Token ids of words."""
        return tuple(self.vocabulary[word] for word in words)

    def _lesson(self, user: str, answer: str, meant: str) -> Lesson:
        words = user.split()
        asked = words[: words.index("?")] if "?" in words else []
        named = [word for word in asked[-1:] if word in NAMED]
        return Lesson(
            (*self.ids(words), *self.closing),
            self.ids(answer.split()),
            self.ids(meant.split()),
            self.vocabulary[named[0]] if named else None,
        )
