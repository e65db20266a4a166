"""One run as a row of runs.csv.

Shares are of the oracle's held-out gain. `trials_to_target` counts distinct recipes and the prior's
bill until any recipe holds 95 % of it, `trials_to_hold` until the winner does; empty means never
within the budget. A layer is named by a coefficient of a half or more.

The winner is what a study returns: the fewest switches on of all within `LEAST_SHARE` of the
greatest value. The columns that begin with `greatest` are of the recipe of greatest value.
"""

from collections.abc import Mapping, Sequence

from methods import LEAST_SHARE, Method, search
from testbed import Testbed, held_out_gain

from merit_opt.recipe.constructors import base, uniform
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.front import Thrift
from merit_opt.tracking.record import TrialRecord

AFTER = (10, 20, 60)
TARGET = 0.95
UNIFORM = (0.1, 0.25, 0.5, 0.75, 1.0)
NAMED = 0.5
RULE = Thrift(LEAST_SHARE)

KEY = ("testbed", "pair", "seed", "method")
PER_POINT = ("share", "tr", "tp", "precision", "recall", "decoys")
COLUMNS = (
    *KEY,
    *("budget", "bill", "trials_to_target", "trials_to_hold", "uniform_share"),
    *(f"held_{what}_{n}" for what in PER_POINT[:3] for n in AFTER),
    *(f"{what}_{n}" for what in PER_POINT[3:] for n in AFTER),
    *(f"greatest_{what}_{n}" for what in ("share", *PER_POINT[3:]) for n in AFTER),
)

Row = Mapping[str, object]


def row(testbed: Testbed, name: str, method: Method, seed: int) -> Row:
    """One search, ended early where nothing more is asked of it."""
    goal = TARGET * held_out_gain(testbed, testbed.oracle)
    told: tuple[TrialRecord, ...] = ()
    after: dict[int, tuple[TrialRecord, ...]] = {}
    best: TrialRecord | None = None
    target: float | None = None
    hold: float | None = None
    for found in search(testbed, method, seed):
        told = (*told, found.record)
        before, best = best, RULE(told)
        if target is None and held_out_gain(testbed, found.record.recipe) >= goal:
            target = found.spent
        if hold is None and best is not before and held_out_gain(testbed, best.recipe) >= goal:
            hold = found.spent
        after |= {n: told for n in AFTER if found.spent <= n}
        if target is not None and found.spent >= max(AFTER):
            break
    return {
        "testbed": testbed.name,
        "pair": testbed.pair,
        "seed": seed,
        "method": name,
        "budget": method.budget,
        "bill": bill(testbed, method),
        "trials_to_target": target,
        "trials_to_hold": hold,
        "uniform_share": max(_share(testbed, uniform(testbed.n_layers, c)) for c in UNIFORM),
        **{k: v for n in AFTER for k, v in _winners(testbed, after.get(n, ()), n).items()},
    }


def bill(testbed: Testbed, method: Method) -> float:
    """What is paid before the first trial."""
    return 0.0 if method.source is None else testbed.prior(method.source).bill


def _winners(testbed: Testbed, told: Sequence[TrialRecord], n: int) -> Row:
    """Before anything is told, as while a prior is paid for, it is the VLM."""
    unmerged = base(testbed.n_layers)
    best = RULE(told).recipe if told else unmerged
    greatest = Thrift(0.0)(told).recipe if told else unmerged
    tr, tp = testbed.held_out(best)
    kept = {f"held_tr_{n}": tr, f"held_tp_{n}": tp}
    kept |= {f"held_share_{n}": _share(testbed, best)}
    kept |= {f"greatest_share_{n}": _share(testbed, greatest)}
    kept |= {f"{k}_{n}": v for k, v in _named(testbed, best).items()}
    return kept | {f"greatest_{k}_{n}": v for k, v in _named(testbed, greatest).items()}


def _named(testbed: Testbed, recipe: Recipe) -> Row:
    named = {i for i, c in recipe.coefficients().items() if c >= NAMED}
    right = len(named & testbed.useful)
    return {
        "precision": right / len(named) if named else None,
        "recall": right / len(testbed.useful),
        "decoys": len(named & testbed.decoys),
    }


def _share(testbed: Testbed, recipe: Recipe) -> float:
    return held_out_gain(testbed, recipe) / held_out_gain(testbed, testbed.oracle)
