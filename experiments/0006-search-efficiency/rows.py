"""One run as a row of runs.csv.

Shares are of the oracle's held-out gain. `trials_to_target` counts distinct recipes and the prior's
bill until any recipe holds 95 % of it, `trials_to_hold` until the best by the search's own value
does; empty means never within the budget. A layer is named by a coefficient of a half or more.

The winner is what a study returns, the recipe of greatest value. The columns that begin with
`simplest` are of the recipe that a study names its layers by: the greatest value, less
`LEAST_SHARE` of the winner's for each merged layer.
"""

from collections.abc import Mapping, Sequence

from methods import LEAST_SHARE, Found, Method, search
from testbed import Testbed, held_out_gain

from merit_opt.recipe.constructors import base, uniform
from merit_opt.recipe.recipe import Recipe

AFTER = (10, 20, 60)
TARGET = 0.95
UNIFORM = (0.1, 0.25, 0.5, 0.75, 1.0)
NAMED = 0.5

KEY = ("testbed", "pair", "seed", "method")
PER_POINT = ("share", "tr", "tp", "precision", "recall", "decoys")
COLUMNS = (
    *KEY,
    *("budget", "bill", "trials_to_target", "trials_to_hold", "uniform_share"),
    *(f"held_{what}_{n}" for what in PER_POINT[:3] for n in AFTER),
    *(f"{what}_{n}" for what in PER_POINT[3:] for n in AFTER),
    *(f"simplest_{what}_{n}" for what in ("share", *PER_POINT[3:]) for n in AFTER),
)

Row = Mapping[str, object]


def row(testbed: Testbed, name: str, method: Method, seed: int) -> Row:
    """One search, ended early where nothing more is asked of it."""
    goal = TARGET * held_out_gain(testbed, testbed.oracle)
    best = Found(base(testbed.n_layers), 0.0, 0.0)
    after = dict.fromkeys(AFTER, (best,))
    all_found = (best,)
    target: float | None = None
    hold: float | None = None
    for found in search(testbed, method, seed):
        is_best = found.value > best.value
        best = found if is_best else best
        if target is None or (hold is None and is_best):
            is_good = held_out_gain(testbed, found.recipe) >= goal
            target = found.spent if target is None and is_good else target
            hold = found.spent if hold is None and is_best and is_good else hold
        all_found = (*all_found, found)
        after |= {n: all_found for n in AFTER if found.spent <= n}
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
        **{k: v for n in AFTER for k, v in _winners(testbed, after[n], n).items()},
    }


def bill(testbed: Testbed, method: Method) -> float:
    """What is paid before the first trial."""
    return 0.0 if method.source is None else testbed.prior(method.source).bill


def _winners(testbed: Testbed, found: Sequence[Found], n: int) -> Row:
    best = max(found, key=lambda one: one.value)
    price = LEAST_SHARE * best.value
    simplest = max(found, key=lambda one: one.value - price * len(one.recipe.merged_layers))
    tr, tp = testbed.held_out(best.recipe)
    kept = {f"held_tr_{n}": tr, f"held_tp_{n}": tp}
    kept |= {f"held_share_{n}": _share(testbed, best.recipe)}
    kept |= {f"simplest_share_{n}": _share(testbed, simplest.recipe)}
    kept |= {f"{k}_{n}": v for k, v in _named(testbed, best.recipe).items()}
    return kept | {f"simplest_{k}_{n}": v for k, v in _named(testbed, simplest.recipe).items()}


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
