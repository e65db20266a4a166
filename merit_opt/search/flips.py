"""Which switch to flip next: a climb decided from the history alone, one question at a time.

A climb flips one switch of the best recipe after the other and keeps what raises the value. What a
switch must be worth rises with the best value; one that is worth it no more is reviewed: the best
is tried without it. Layers that help only together are lost on such a climb. So another comes from
the other end: every switch is on, and they are taken off one by one; there, half of a pair is
missed at once.

Several may ask at the same time: what is still being measured counts as not raised until it is
told, and what then turns out to have raised a recipe that is the best no more is tried again, once.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal

Position = tuple[float, ...]
"""Values of one switch's parameters."""

State = tuple[Position, ...]
"""A position per switch: a recipe."""

Phase = Literal["seed", "control", "flip", "review", "scale", "peel", "pair", "cold"]

LOST = -math.inf  # value of a trial that failed or was stopped
ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class Dial:
    """Positions of one switch; see `spaces.Switch`."""

    off: Position
    on: Position
    milder: tuple[Position, ...]

    def near(self, position: Position) -> list[tuple[int, Position]]:
        """Positions beside one that is not off, milder first, with their place; `on` is 0."""
        ladder = (self.on, *self.milder)
        if position == self.off:
            return []
        if position not in ladder:
            return [(0, self.on)]
        here = ladder.index(position)
        return [(i, ladder[i]) for i in (here + 1, here - 1) if 0 <= i < len(ladder)]


@dataclass(frozen=True, slots=True)
class Board:
    """What is played on.

    Attributes:
        dials: By depth.
        promise: What turning each switch on promises; None where nothing is known of them.
        max_pairs: Pairs of switches tried in all.
        least_share: What a switch that is on must be worth, as a share of the greatest value told,
            or else it is off; at least 0.
        fits: Whether a recipe may have that many switches on.
    """

    dials: tuple[Dial, ...]
    promise: tuple[float, ...] | None
    max_pairs: int
    least_share: float
    fits: Callable[[State], bool] = lambda state: True

    def size(self, state: State) -> int:
        """How many switches are not off."""
        return sum(here != dial.off for here, dial in zip(state, self.dials, strict=True))

    @property
    def all_off(self) -> State:
        """As near to the VLM as the space can."""
        return tuple(dial.off for dial in self.dials)

    @property
    def all_on(self) -> State:
        """As near to the backbone as the space can."""
        return tuple(dial.on for dial in self.dials)

    def order(self, state: State) -> list[int]:
        """Switches, the most promising flip first; from the last on where nothing is known."""
        last_first = reversed(range(len(self.dials)))
        promise = self.promise
        if promise is None:
            return list(last_first)
        sign = [
            1.0 if here == dial.off else -1.0 for here, dial in zip(state, self.dials, strict=True)
        ]
        return sorted(last_first, key=lambda switch: -sign[switch] * promise[switch])

    def flipped(self, state: State, switches: Iterable[int]) -> State:
        """What was off is on, what was not is off."""
        found = list(state)
        for switch in switches:
            dial = self.dials[switch]
            found[switch] = dial.on if found[switch] == dial.off else dial.off
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Change:
    """What is done to a recipe.

    Attributes:
        phase: Which part of the search does it.
        switches: Those it moves; none where it opens a climb, or is no part of one.
        step: The pass that a flip belongs to, from 1; of a scale, how mild it is, `on` is 0.
    """

    phase: Phase
    switches: tuple[int, ...] = ()
    step: int = 0


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to try next.

    Attributes:
        state: The recipe.
        change: What made it.
        start: Index of the trial it was made of; None where there is none.
    """

    state: State
    change: Change
    start: int | None


@dataclass(frozen=True, slots=True)
class Tried:
    """A recipe of the study.

    Attributes:
        index: Of its proposal.
        proposal: What it is.
        value: What it reached; None while it is measured.
    """

    index: int
    proposal: Proposal
    value: float | None


def propose(history: Sequence[Tried], board: Board) -> Proposal | None:
    """The next recipe of the climbs, or None where they have stalled.

    It is none of the history, and depends on nothing else.
    """
    return next(_plan(_Climb(tuple(sorted(history, key=lambda t: t.index)), board)), None)


def _plan(climb: "_Climb") -> Iterator[Proposal]:
    yield from climb.reviews()
    if not climb.is_peeling:
        if climb.best is None:
            yield from climb.opening("flip", climb.board.all_off)
        yield from climb.flips(1)
        yield from climb.scales()
        yield from climb.opening("peel", climb.board.all_on)
    yield from climb.peels()
    if climb.turn > 1:
        yield from climb.flips(climb.turn)
    if climb.is_turn_stale:
        yield from climb.flips(climb.turn + 1)
    if climb.has_risen:
        yield from climb.scales()
        yield from climb.pairs()


@dataclass(frozen=True)
class _Climb:
    """The history, looked up by what a decision asks of it."""

    history: tuple[Tried, ...]
    board: Board

    def opening(self, phase: Phase, state: State) -> Iterator[Proposal]:
        if self._is_new(state):
            yield Proposal(state, Change(phase), None)

    def flips(self, turn: int) -> Iterator[Proposal]:
        start = self.best
        state = self.board.all_off if start is None else start.proposal.state
        for switch in self.board.order(state):
            flipped = self.board.flipped(state, [switch])
            yield from self._unless_tried(flipped, Change("flip", (switch,), turn), start)

    def reviews(self) -> Iterator[Proposal]:
        start = self.best
        if start is None:
            return
        state = start.proposal.state
        on = [s for s, dial in enumerate(self.board.dials) if state[s] != dial.off]
        rise = {switch: self._rise_on(switch) for switch in on}
        for switch in sorted(on, key=lambda switch: rise[switch]):
            if rise[switch] <= self._price:  # worth less than twice what it must be
                change = Change("review", (switch,))
                yield from self._unless_tried(self.board.flipped(state, [switch]), change, start)

    def peels(self) -> Iterator[Proposal]:
        start = self._best_peeled
        state = self.board.all_on if start is None else start.proposal.state
        for switch in self.board.order(state):
            if state[switch] != self.board.dials[switch].off:
                flipped = self.board.flipped(state, [switch])
                yield from self._unless_tried(flipped, Change("peel", (switch,), 1), start)

    def scales(self) -> Iterator[Proposal]:
        start = self.best
        if start is None:
            return
        state = start.proposal.state
        for switch in reversed(range(len(state))):
            for step, position in self.board.dials[switch].near(state[switch]):
                scaled = (*state[:switch], position, *state[switch + 1 :])
                yield from self._unless_tried(scaled, Change("scale", (switch,), step), start)

    def pairs(self) -> Iterator[Proposal]:
        start = self.best
        left = self.board.max_pairs - sum(t.proposal.change.phase == "pair" for t in self.history)
        if start is None or left <= 0:
            return
        state = start.proposal.state
        rise = [self._rise_alone(start, switch) for switch in range(len(state))]
        every = combinations(range(len(state)), 2)
        for pair in sorted(every, key=lambda pair: -(rise[pair[0]] + rise[pair[1]])):
            yield from self._unless_tried(
                self.board.flipped(state, pair), Change("pair", pair), start
            )

    @cached_property
    def best(self) -> Tried | None:
        """The greatest worth told, the earliest of equals."""
        return self._best_of(self.history)

    @cached_property
    def is_peeling(self) -> bool:
        """Whether the other climb has begun."""
        return any(t.proposal.change.phase == "peel" for t in self.history)

    @cached_property
    def turn(self) -> int:
        """Which pass of flips is the last one begun."""
        return max((t.proposal.change.step for t in self._flipped), default=1)

    @cached_property
    def is_turn_stale(self) -> bool:
        """Whether the last pass of flips began with other switches on than the best."""
        begun = [t.proposal.start for t in self._flipped if t.proposal.change.step == self.turn]
        top = self._on(self.best)
        return not begun or any(self._on(self._by_index.get(start)) != top for start in begun)

    @cached_property
    def has_risen(self) -> bool:
        """Whether any climb has led above all that was there before it."""
        return self.best is not None and self.best.proposal.change.switches != ()

    def _unless_tried(
        self, state: State, change: Change, start: Tried | None
    ) -> Iterator[Proposal]:
        attempts = self._attempts.get(change, [])
        is_worth_more = len(attempts) < ATTEMPTS and all(
            self._rose(t) and all(t.proposal.state[s] == state[s] for s in change.switches)
            for t in attempts
        )
        if is_worth_more and self._is_new(state):
            yield Proposal(state, change, None if start is None else start.index)

    def _is_new(self, state: State) -> bool:
        return state not in self._seen and self.board.fits(state)

    def _on(self, tried: Tried | None) -> frozenset[int] | None:
        if tried is None:
            return None
        pairs = enumerate(zip(tried.proposal.state, self.board.dials, strict=True))
        return frozenset(switch for switch, (here, dial) in pairs if here != dial.off)

    def _rose(self, tried: Tried) -> bool:
        return self._rise(tried) > 0

    def _rise(self, tried: Tried) -> float:
        """How far a told recipe lies above the one that it was made of."""
        worth = self._worth(tried)
        start = self._by_index.get(tried.proposal.start)
        return worth - (LOST if start is None else self._worth(start)) if worth > LOST else LOST

    def _rise_alone(self, start: Tried, switch: int) -> float:
        """What flipping a switch did when it was last tried."""
        tries = [t for t in self._flipped if t.proposal.change.switches == (switch,)]
        return self._rise(tries[-1]) if tries else LOST

    def _rise_on(self, switch: int) -> float:
        """What turning a switch on did when that was last measured; infinite where it never was."""
        off = self.board.dials[switch].off
        rises = [
            self._rise(t)
            for t in self._flipped
            if t.proposal.change.switches == (switch,)
            and t.proposal.state[switch] != off
            and t.value is not None
        ]
        return rises[-1] if rises else math.inf

    def _worth(self, tried: Tried) -> float:
        """Its value less what its switches cost; nothing while it is measured."""
        value = LOST if tried.value is None else tried.value
        return value - self._price * self.board.size(tried.proposal.state)

    @cached_property
    def _price(self) -> float:
        told = (t.value for t in self.history if t.value is not None)
        return self.board.least_share * max([0.0, *told])

    def _best_of(self, tried: Iterable[Tried]) -> Tried | None:
        told = [t for t in tried if t.value is not None and t.value > LOST]
        return max(told, key=lambda t: (self._worth(t), -t.index), default=None)

    @cached_property
    def _flipped(self) -> list[Tried]:
        return [t for t in self.history if t.proposal.change.phase == "flip"]

    @cached_property
    def _best_peeled(self) -> Tried | None:
        on = self.board.all_on
        return self._best_of(
            t for t in self.history if t.proposal.change.phase == "peel" or t.proposal.state == on
        )

    @cached_property
    def _by_index(self) -> dict[int | None, Tried]:
        return {t.index: t for t in self.history}

    @cached_property
    def _seen(self) -> set[State]:
        return {t.proposal.state for t in self.history}

    @cached_property
    def _attempts(self) -> dict[Change, list[Tried]]:
        found: defaultdict[Change, list[Tried]] = defaultdict(list)
        for tried in self.history:
            found[tried.proposal.change].append(tried)
        return dict(found)
