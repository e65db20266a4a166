"""Climbs over made-up values: what `propose` says depends on the history alone."""

import random
from collections.abc import Callable
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from merit_opt.search.flips import LOST, Board, Change, Dial, Proposal, State, Tried, propose

Value = Callable[[State], float | None]


def dial(n_milder: int) -> Dial:
    return Dial((0.0,), (1.0,), ((0.75,), (0.5,))[:n_milder])


@st.composite
def boards(draw: Callable) -> Board:
    dials = draw(st.lists(st.integers(0, 2).map(dial), min_size=1, max_size=4))
    known = st.tuples(*[st.sampled_from([-1.0, 0.0, 0.5, 2.0])] * len(dials))
    share = draw(st.sampled_from([0.0, 0.1]))
    return Board(tuple(dials), draw(st.none() | known), draw(st.integers(0, 4)), share)


@st.composite
def games(draw: Callable) -> tuple[Board, Value, list[Tried]]:
    """A board, values that may be equal or lost, and recipes that were tried before."""
    board, salt = draw(boards()), draw(st.integers())
    levels = draw(st.sampled_from([2, 5, 1000]))

    def value(state: State) -> float:
        drawn = random.Random(f"{salt}/{state}").randrange(levels + 1)
        return LOST if drawn == levels else drawn / levels

    every = list(product(*[(d.off, d.on, *d.milder, (0.3,)) for d in board.dials]))
    before = draw(st.lists(st.sampled_from(every), max_size=3, unique=True))
    seeds = [
        Tried(i, Proposal(state, Change("seed"), None), value(state))
        for i, state in enumerate(before)
    ]
    return board, value, seeds


def play(board: Board, value: Value, history: list[Tried], limit: int = 1000) -> list[Tried]:
    """One worker's climbs."""
    history = list(history)
    while len(history) < limit and (proposal := propose(history, board)) is not None:
        history.append(Tried(len(history), proposal, value(proposal.state)))
    return history


def best(history: list[Tried], board: Board, among: list[Tried] | None = None) -> Tried | None:
    """Where every switch that is not off must be worth its share of the greatest value."""
    top = max([0.0, *(t.value for t in history if t.value is not None)])

    def worth(tried: Tried) -> float:
        return tried.value - board.least_share * top * board.size(tried.proposal.state)

    told = [
        t for t in (history if among is None else among) if t.value is not None and t.value > LOST
    ]
    return max(told, key=lambda t: (worth(t), -t.index), default=None)


@given(games())
def test_no_recipe_is_proposed_twice_and_the_climbs_end(game):
    history = play(*game)
    assert len(history) < 1000
    assert len({t.proposal.state for t in history}) == len(history)


@given(games(), st.randoms(use_true_random=False))
def test_a_proposal_depends_on_what_was_tried_not_on_the_order_of_telling(game, rng):
    board, value, seeds = game
    history = play(board, value, seeds)
    known = history[: rng.randrange(len(history) + 1)]
    assert propose(rng.sample(known, len(known)), board) == propose(known, board)


@given(games())
def test_a_pass_flips_every_switch_of_the_best_once(game):
    """Or twice, where what a switch must be worth has risen since and it is not kept."""
    board = game[0]
    history = play(*game)
    changes = [t.proposal.change for t in history if t.proposal.change.phase in ("flip", "peel")]
    most = 1 if board.least_share == 0 else 2
    assert all(changes.count(change) <= most for change in changes)


@given(games())
def test_a_change_is_made_to_the_best_recipe_and_touches_nothing_else(game):
    board, value, seeds = game
    history = play(board, value, seeds)
    for tried in history[len(seeds) :]:
        proposal, earlier, among = tried.proposal, history[: tried.index], None
        if proposal.change.phase == "peel":
            among = [
                t for t in earlier
                if t.proposal.change.phase == "peel" or t.proposal.state == board.all_on
            ]  # fmt: skip
        start = best(earlier, board, among)
        assert (start is not None and start.index) == (
            proposal.start is not None and proposal.start
        )
        if start is not None and proposal.change.switches:
            rest = set(range(len(board.dials))) - set(proposal.change.switches)
            assert all(proposal.state[s] == start.proposal.state[s] for s in rest)
            assert all(
                proposal.state[s] != start.proposal.state[s] for s in proposal.change.switches
            )


def on(state: State, board: Board) -> frozenset[int]:
    return frozenset(s for s, dial in enumerate(board.dials) if state[s] != dial.off)


def flips_are_known(history: list[Tried], board: Board) -> bool:
    """Every flip of the best was tried, at these coefficients of the others or at milder ones."""
    top = best(history, board)
    if top is None:
        return True
    flips = {on(board.flipped(top.proposal.state, [s]), board) for s in range(len(board.dials))}
    return flips <= {on(t.proposal.state, board) for t in history}


@given(games())
def test_where_the_climbs_end_every_flip_of_the_best_was_tried(game):
    board, value, seeds = game
    history = play(board, value, seeds)
    assert board.all_on in {t.proposal.state for t in history}
    assert flips_are_known(history, board)


@given(games())
def test_pairs_are_tried_up_to_their_number(game):
    board, value, seeds = game
    pairs = [t for t in play(board, value, seeds) if t.proposal.change.phase == "pair"]
    assert len(pairs) <= board.max_pairs


@given(games(), st.integers(2, 5))
def test_several_who_ask_at_once_get_different_recipes(game, workers):
    board, _, seeds = game
    asked: list[Tried] = []
    for i in range(workers):
        if (proposal := propose([*seeds, *asked], board)) is not None:
            asked.append(Tried(len(seeds) + i, proposal, None))
    states = [t.proposal.state for t in [*seeds, *asked]]
    assert len(set(states)) == len(states)


@given(games(), st.integers(2, 4), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_several_workers_end_too_and_their_best_is_no_worse_than_its_flips(game, workers, rng):
    board, value, history = game
    running: list[int] = []
    while True:
        proposal = propose(history, board)
        if proposal is not None and len(running) < workers:
            running.append(len(history))
            history = [*history, Tried(len(history), proposal, None)]
        elif running:
            done = running.pop(rng.randrange(len(running)))
            proposal = history[done].proposal
            history[done] = Tried(done, proposal, value(proposal.state))
        else:
            break
    assert len({t.proposal.state for t in history}) == len(history)
    changes = [t.proposal.change for t in history if t.proposal.change.phase == "flip"]
    assert all(changes.count(change) <= 2 for change in changes)
    assert flips_are_known(history, board)


THREE = Board((dial(0),) * 3, None, 0, 0.0)
OFF, ON = (0.0,), (1.0,)


def told(
    index: int, state: State, value: float | None, change: Change, start: int | None
) -> Tried:
    return Tried(index, Proposal(state, change, start), value)


def test_of_two_flips_at_once_that_both_raise_the_lesser_is_tried_again_on_the_greater():
    base = told(0, (OFF, OFF, OFF), 0.0, Change("control"), None)
    third = told(1, (OFF, OFF, ON), 0.1, Change("flip", (2,), 1), 0)
    second = told(2, (OFF, ON, OFF), 0.2, Change("flip", (1,), 1), 0)
    again = propose([base, third, second], THREE)
    assert again == Proposal((OFF, ON, ON), Change("flip", (2,), 1), 2)
    failed = told(3, again.state, 0.15, again.change, again.start)
    after = propose([base, third, second, failed], THREE)
    assert after == Proposal((ON, ON, OFF), Change("flip", (0,), 1), 2)


def test_what_lowered_an_older_recipe_is_not_tried_again_in_the_pass():
    base = told(0, (OFF, OFF, OFF), 0.0, Change("control"), None)
    third = told(1, (OFF, OFF, ON), -0.1, Change("flip", (2,), 1), 0)
    second = told(2, (OFF, ON, OFF), 0.2, Change("flip", (1,), 1), 0)
    after = propose([base, third, second], THREE)
    assert after.change == Change("flip", (0,), 1)


def test_switches_go_from_the_last_to_the_first_or_by_what_they_promise():
    base = told(0, (OFF, ON, OFF), 0.0, Change("seed"), None)
    assert THREE.order(base.proposal.state) == [2, 1, 0]
    promised = Board(THREE.dials, (0.5, -2.0, -1.0), 0, 0.0)
    assert promised.order(base.proposal.state) == [1, 0, 2]


def test_layers_that_help_only_together_are_found_from_the_other_end():
    board = Board((dial(1),) * 8, None, 0, 0.0)

    def value(state: State) -> float:
        on = {switch for switch, position in enumerate(state) if position == ON}
        return sum(3 if pair <= on else 0 for pair in ({1, 6}, {2, 3})) - 0.5 * len(on)

    history = play(board, value, [], limit=18)
    found = best(history, board).proposal.state
    assert found == tuple(ON if switch in (1, 2, 3, 6) else OFF for switch in range(8))


def test_milder_positions_are_climbed_both_ways():
    board = Board((dial(2),), None, 0, 0.0)
    seeds = [told(0, ((0.5,),), 0.5, Change("seed"), None)]
    history = play(board, lambda state: 1 - abs(state[0][0] - 0.75), seeds)
    assert best(history, board).proposal.state == ((0.75,),)
    assert [t.proposal.change.phase for t in history[1:]] == ["flip", "scale", "scale"]


def test_a_switch_in_doubt_is_reviewed_as_soon_as_the_best_has_risen():
    board = Board((dial(0),) * 3, None, 0, 0.05)

    def value(state: State) -> float:
        """The last gains less once the middle one is on."""
        first, middle, last = (position == ON for position in state)
        return 0.6 * middle + (0.02 if middle else 0.05) * last + 0.1 * first

    history = play(board, value, [], limit=5)
    assert [t.proposal.change.phase for t in history[:4]] == ["flip", "flip", "flip", "review"]
    assert history[3].proposal.state == (OFF, ON, OFF)
    assert best(history, board).proposal.state == (ON, ON, OFF)


def test_what_a_space_cannot_turn_on_is_not_proposed():
    def fits(state: State) -> bool:
        return state.count(ON) <= 2

    board = Board((dial(0),) * 5, None, 30, 0.0, fits)
    history = play(board, lambda state: state.count(ON) + 0.1 * (state[0] == ON), [])
    assert all(fits(t.proposal.state) for t in history)
    assert {"flip", "pair"} <= {t.proposal.change.phase for t in history}
    assert best(history, board).proposal.state[0] == ON


def test_a_switch_that_is_worth_too_little_is_turned_off_again():
    board = Board((dial(0),) * 3, None, 0, 0.05)
    worths = (1.0, 0.02, 0.01)

    def value(state: State) -> float:
        return sum(w for w, position in zip(worths, state, strict=True) if position == ON)

    history = play(board, value, [])
    assert history[1].proposal.state == (OFF, OFF, ON)
    assert best(history, board).proposal.state == (ON, OFF, OFF)
    assert max(t.value for t in history) == sum(worths)
