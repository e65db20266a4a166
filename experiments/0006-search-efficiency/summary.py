"""result.json from the rows of runs.csv: medians and means with bootstrap intervals, and the aims."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, str]
Numbers = NDArray[np.float64]

PAPER = ("paper:0/1", "paper:.1/.9", "paper:.25/.75")
DEFAULT = "default"
DRAWS, LEVEL = 4000, 0.95
HELD = 0.95
MEANS = (
    *(f"held_{what}_{n}" for what in ("share", "tr", "tp") for n in (10, 20, 60)),
    *(f"{what}_{n}" for what in ("precision", "recall", "decoys") for n in (10, 20, 60)),
    *(
        f"plain_{what}_{n}"
        for what in ("share", "precision", "recall", "decoys")
        for n in (10, 60)
    ),
    "uniform_share",
)


def summarised(rows: Sequence[Row]) -> dict[str, Any]:
    """Per testbed and method, then what was aimed at."""
    testbeds = {r["testbed"]: {} for r in rows}
    for testbed in testbeds:
        own = [r for r in rows if r["testbed"] == testbed]
        testbeds[testbed] = {
            m: _method(of(own, m)) for m in dict.fromkeys(r["method"] for r in own)
        }
    return {
        "methods": testbeds,
        "aims": {name: _ratio(of_testbed(rows, name)) for name in testbeds if name != "planted"}
        | ({"planted": _planted(of_testbed(rows, "planted"))} if "planted" in testbeds else {}),
    }


def of(rows: Iterable[Row], method: str) -> list[Row]:
    """The rows of one method."""
    return [r for r in rows if r["method"] == method]


def of_testbed(rows: Iterable[Row], name: str) -> list[Row]:
    """The rows of one testbed."""
    return [r for r in rows if r["testbed"] == name]


def _method(rows: Sequence[Row]) -> dict[str, Any]:
    trials = _trials(rows)
    return {
        "runs": len(rows),
        "budget": int(rows[0]["budget"]),
        "bill": float(rows[0]["bill"]),
        "reached": float(np.mean(np.isfinite(trials))),
        "trials_to_target": _interval(trials, _median),
        "trials_to_hold": _interval(_trials(rows, "trials_to_hold"), _median),
        **{name: _interval(_column(rows, name), np.mean) for name in MEANS},
        "held_at_10": _interval(_holds(rows), np.mean),
    }


def _ratio(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Trials of our default over those of the paper's best preset, both medians."""
    papers = {name: _trials(of(rows, name)) for name in PAPER if of(rows, name)}
    ours = _trials(of(rows, DEFAULT))
    if not papers or not len(ours):
        return None
    best = min(
        papers, key=lambda name: (_median(papers[name]), -np.mean(np.isfinite(papers[name])))
    )
    rng = np.random.default_rng(0)
    drawn = [
        _median(rng.choice(ours, len(ours))) / _median(rng.choice(papers[best], len(papers[best])))
        for _ in range(DRAWS)
    ]
    return {
        "best_paper": best,
        "ratio": _number(_median(ours) / _median(papers[best])),
        "interval": _ends(np.array(drawn)),
    }


def _planted(rows: Sequence[Row]) -> dict[str, Any] | None:
    ours = of(rows, DEFAULT)
    if not ours:
        return None
    return {
        "runs": len(ours),
        "pairs": len({r["pair"] for r in ours}),
        "held_at_10": _interval(_holds(ours), np.mean),
        "beats_best_uniform": _share(
            ours, lambda r: float(r["held_share_10"]) > float(r["uniform_share"])
        ),
        **{
            f"{winner}{what}": _share(
                ours, lambda r, c=f"{winner}{column}_10", x=wanted: float(r[c]) == x
            )
            for winner in ("", "plain_")
            for what, column, wanted in (
                ("names_useful", "recall", 1.0),
                ("no_decoy", "decoys", 0.0),
            )
        },
    }


def _share(rows: Sequence[Row], is_so: Callable[[Row], bool]) -> float:
    return float(np.mean([is_so(r) for r in rows]))


def _holds(rows: Sequence[Row]) -> Numbers:
    return (_column(rows, "held_share_10") >= HELD).astype(float)


def _trials(rows: Sequence[Row], name: str = "trials_to_target") -> Numbers:
    """Infinite where the target was not reached."""
    return np.array([float(r[name]) if r[name] else math.inf for r in rows])


def _column(rows: Sequence[Row], name: str) -> Numbers:
    return np.array([float(r[name]) for r in rows if r[name]])


def _median(numbers: Numbers) -> float:
    """The greater of the two in the middle: infinity has no mean."""
    return float(np.sort(numbers)[len(numbers) // 2])


def _interval(numbers: Numbers, of: Callable[[Numbers], Any]) -> dict[str, Any] | None:
    if not len(numbers):
        return None
    rng = np.random.default_rng(0)
    drawn = [float(of(rng.choice(numbers, len(numbers)))) for _ in range(DRAWS)]
    return {"value": _number(float(of(numbers))), "interval": _ends(np.array(drawn))}


def _ends(drawn: Numbers) -> list[float | None]:
    known = np.sort(drawn[~np.isnan(drawn)])
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    return [_number(float(known[round(q * (len(known) - 1))])) for q in ends]


def _number(value: float) -> float | None:
    """None where it is infinite: never."""
    return round(value, 4) if math.isfinite(value) else None
