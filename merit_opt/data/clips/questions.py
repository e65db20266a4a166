"""What can be asked about a clip: nine kinds of question, each with the events it rests on.

A question is asked about its `subject`: the index of the event that holds the answer.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import zip_longest

from merit_opt.data.clips.scene import ACTIONS, COLOURS, SHAPES, Events
from merit_opt.data.suite import Role

NUMBERS = ("one", "two", "three", "four")
OPTIONS = 4


@dataclass(frozen=True, slots=True)
class Question:
    """One question before its options are drawn.

    Attributes:
        kind: Name of its kind.
        subject: Index of the event that holds the answer.
        text: The question alone.
        answer: The right option.
        near: Wrong options to use first: they are what a careless viewer would say.
        far: Wrong options that fill up.
        evidence: Indices of the events that must be seen to answer, ascending.
    """

    kind: str
    subject: int
    text: str
    answer: str
    near: tuple[str, ...]
    far: tuple[str, ...]
    evidence: tuple[int, ...]

    def distractors(self, rng: random.Random) -> tuple[str, ...]:
        """Three wrong options, near ones before far ones."""
        near, far = rng.sample(self.near, len(self.near)), rng.sample(self.far, len(self.far))
        return tuple((near + far)[: OPTIONS - 1])


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to ask: its role, and every question it has about a clip."""

    name: str
    role: Role
    ask: Callable[[Events, int], tuple[str, str, Iterable[int]]]
    subjects: Callable[[Events], Iterable[int]]

    def questions(self, events: Events) -> tuple[Question, ...]:
        """One question for every event that this kind can be asked about."""
        return tuple(self._question(events, subject) for subject in self.subjects(events))

    def _question(self, events: Events, subject: int) -> Question:
        text, answer, evidence = self.ask(events, subject)
        near, far = _wrong(events, answer, absent_only=text.endswith("shown ?"))
        return Question(self.name, subject, text, answer, near, far, tuple(evidence))


def _wrong(
    events: Events, answer: str, *, absent_only: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Wrong options (near, far): what the clip shows first, unless that too would be right."""
    if answer in SHAPES:
        return tuple(s for s in SHAPES if s != answer), ()
    values = COLOURS if answer in COLOURS else ACTIONS
    seen = {e.colour for e in events} | {e.action for e in events}
    present = tuple(v for v in values if v in seen and v != answer)
    absent = tuple(v for v in values if v not in seen)
    return (absent, ()) if absent_only else (present, absent)


def _all(events: Events) -> Iterable[int]:
    return range(len(events))


def _not_first(events: Events) -> Iterable[int]:
    return range(1, len(events))


def _not_last(events: Events) -> Iterable[int]:
    return range(len(events) - 1)


def _new_actions(events: Events) -> Iterable[int]:
    actions = [e.action for e in events]
    return [i for i, action in enumerate(actions) if actions.index(action) == i]


KINDS = (
    Kind(
        "nth", "TR",
        lambda e, i: (f"object number {NUMBERS[i]} ?", e[i].colour, range(i + 1)),
        _all,
    ),
    Kind(
        "nth_from_end", "TR",
        lambda e, i: (f"backwards object number {NUMBERS[len(e) - 1 - i]} ?", e[i].colour,
                      range(i, len(e))),
        _all,
    ),
    Kind(
        "after", "TR",
        lambda e, i: (f"object after {e[i - 1].colour} ?", e[i].colour, (i - 1, i)),
        _not_first,
    ),
    Kind(
        "before", "TR",
        lambda e, i: (f"object before {e[i + 1].colour} ?", e[i].colour, (i, i + 1)),
        _not_last,
    ),
    Kind(
        "action_after", "TR",
        lambda e, i: (f"action after {e[i - 1].colour} ?", e[i].action, (i - 1, i)),
        _not_first,
    ),
    Kind("action_of", "TP", lambda e, i: (f"action of {e[i].colour} ?", e[i].action, (i,)), _all),
    Kind("shape_of", "TP", lambda e, i: (f"shape of {e[i].colour} ?", e[i].shape, (i,)), _all),
    Kind("colour_shown", "TP", lambda e, i: ("color shown ?", e[i].colour, (i,)), _all),
    Kind(
        "action_shown", "TP",
        lambda e, i: ("action shown ?", e[i].action,
                      [k for k, other in enumerate(e) if other.action == e[i].action]),
        _new_actions,
    ),
)  # fmt: skip
ROLES: dict[str, Role] = {kind.name: kind.role for kind in KINDS}


def questions_about(events: Events) -> tuple[Question, ...]:
    """Every question there is about a clip."""
    return tuple(question for kind in KINDS for question in kind.questions(events))


def draw_questions(
    events: Events, *, role: Role, count: int, rng: random.Random
) -> tuple[Question, ...]:
    """`count` different questions of one role, spread over its kinds; fewer if there are fewer."""
    kinds = [kind for kind in KINDS if kind.role == role]
    queues = [kind.questions(events) for kind in rng.sample(kinds, len(kinds))]
    rounds = zip_longest(*(rng.sample(queue, len(queue)) for queue in queues))
    return tuple(question for turn in rounds for question in turn if question)[:count]
