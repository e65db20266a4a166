"""What is known of one sample in one model; kept on disk as it is found."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from merit_opt.attribution.frames.curves import Curves
from merit_opt.files import write_text

FORMAT = "frames/2"
Target = Literal["chosen", "right"]
TARGETS: tuple[Target, ...] = ("chosen", "right")


@dataclass(frozen=True, slots=True)
class Record:
    """One sample in one model.

    Attributes:
        sample: Its id.
        chosen: Index of the option that the attribution calls chosen.
        right: Index of the right option.
        log_probabilities: Natural logs, of the options.
        spans: Of each frame when it begins and ends, in seconds.
        evidence: Of each frame whether it shows what is needed; none where nobody knows.
        attributions: Method -> target -> a number each frame.
        gap: How far log-probability falls, of the chosen option, from the video to its mean
            feature: what integrated gradients add up to.
        curves: Order -> curves of the chosen option.
    """

    sample: str
    chosen: int
    right: int
    log_probabilities: tuple[float, ...]
    spans: tuple[tuple[float, float], ...]
    evidence: tuple[bool, ...]
    attributions: Mapping[str, Mapping[str, tuple[float, ...]]]
    gap: float
    curves: Mapping[str, Curves]

    @property
    def residual(self) -> float | None:
        """How far `integrated` adds up to more than `gap`; None where it was not taken."""
        if "integrated" not in self.attributions:
            return None
        return math.fsum(self.attributions["integrated"]["chosen"]) - self.gap


class Records:
    """Files of records, found by everything that shapes them; safe to delete."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: Sequence[str]) -> list[Record] | None:
        """Those put under `key`; a torn or foreign file counts as missing."""
        try:
            value = json.loads(self._path(key).read_text())
            if value["format"] != FORMAT or value["key"] != list(key):
                return None
            return [_record(one) for one in value["records"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: Sequence[str], records: Sequence[Record]) -> None:
        """Keep them.

        Raises:
            UserError: The folder cannot be written.
        """
        value = {"format": FORMAT, "key": list(key), "records": [asdict(r) for r in records]}
        write_text(self._path(key), json.dumps(value))

    def _path(self, key: Sequence[str]) -> Path:
        name = hashlib.sha256(json.dumps([FORMAT, *key]).encode()).hexdigest()[:24]
        return self._folder / f"{name}.json"


def _record(value: dict[str, Any]) -> Record:
    return Record(
        sample=value["sample"],
        chosen=value["chosen"],
        right=value["right"],
        log_probabilities=tuple(value["log_probabilities"]),
        spans=tuple((start, end) for start, end in value["spans"]),
        evidence=tuple(value["evidence"]),
        attributions={
            how: {target: tuple(row) for target, row in by_target.items()}
            for how, by_target in value["attributions"].items()
        },
        gap=value["gap"],
        curves={
            order: Curves(tuple(one["deletion"]), tuple(one["insertion"]))
            for order, one in value["curves"].items()
        },
    )
