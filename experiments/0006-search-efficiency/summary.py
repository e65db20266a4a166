"""result.json from the rows of runs.csv: medians and means with bootstrap intervals, and the aims."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Row = Mapping[str, str]
Numbers = NDArray[np.float64]
IsSo = Callable[[Row], bool]

PAPER = ("paper:0/1", "paper:.1/.9", "paper:.25/.75")
DEFAULT = "default"
DRAWS, LEVEL = 4000, 0.95
HELD = 0.95
DRAWN_LATER = ("-s9", "-s10", "-s11", "-s12")  # after the sampler was settled on the others
MEANS = (
    *(f"held_{what}_{n}" for what in ("share", "tr", "tp") for n in (10, 20, 60)),
    *(f"{what}_{n}" for what in ("precision", "recall", "decoys") for n in (10, 20, 60)),
    *(
        f"greatest_{what}_{n}"
        for what in ("share", "precision", "recall", "decoys")
        for n in (10, 60)
    ),
    "uniform_share",
)


def _holds(row: Row) -> bool:
    return float(row["held_share_10"]) >= HELD


def _names_useful(after: int) -> IsSo:
    return lambda row: float(row[f"recall_{after}"]) == 1.0


def _names_no_decoy(after: int) -> IsSo:
    return lambda row: float(row[f"decoys_{after}"]) == 0.0


AIMS: Mapping[str, IsSo] = MappingProxyType(
    {
        "holds_10": _holds,
        "beats_best_uniform_10": lambda r: float(r["held_share_10"]) > float(r["uniform_share"]),
        "names_useful_10": _names_useful(10),
        "names_no_decoy_10": _names_no_decoy(10),
        "names_useful_60": _names_useful(60),
        "names_no_decoy_60": _names_no_decoy(60),
    }
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
        | _of_planted(of_testbed(rows, "planted")),
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
        "holds_10": _interval(_holding(rows), np.mean),
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


def _of_planted(rows: Sequence[Row]) -> dict[str, Any]:
    later = [r for r in rows if r["pair"].endswith(DRAWN_LATER)]
    named = {"planted": rows, "planted, drawn later": later}
    return {name: _planted(own) for name, own in named.items() if own}


def _planted(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Of our default: the share of runs, and of pairs all of whose runs do it."""
    ours = of(rows, DEFAULT)
    if not ours:
        return None
    pairs = [[r for r in ours if r["pair"] == p] for p in dict.fromkeys(r["pair"] for r in ours)]
    found = {
        name: {
            "runs": _share(map(is_so, ours)),
            "pairs": _share(all(map(is_so, own)) for own in pairs),
        }
        for name, is_so in AIMS.items()
    }
    return {"runs": len(ours), "pairs": len(pairs)} | found


def _share(does: Iterable[bool]) -> float:
    return round(float(np.mean(list(does))), 4)


def _trials(rows: Sequence[Row], name: str = "trials_to_target") -> Numbers:
    """Infinite where the target was not reached."""
    return np.array([float(r[name]) if r[name] else math.inf for r in rows])


def _column(rows: Sequence[Row], name: str) -> Numbers:
    return np.array([float(r[name]) for r in rows if r[name]])


def _holding(rows: Sequence[Row]) -> Numbers:
    return np.array([float(_holds(r)) for r in rows if r["held_share_10"]])


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
