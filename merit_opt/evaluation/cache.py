"""Evaluations on disk, found by everything that shapes them; safe to delete."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.files import write_text

SCHEMA = 3


class EvaluationCache:
    """One JSON file per evaluation, written under a temporary name and renamed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, key: tuple[str, ...]) -> Evaluation | None:
        """The evaluation put under `key`; a torn or foreign file is dropped.

        One that cannot be read counts as missing: `put` says what is wrong with the folder.
        """
        path = self._path(key)
        try:
            value = json.loads(path.read_text())
            if value["schema"] != SCHEMA or value["key"] != list(key):
                raise ValueError("another key")
            return _evaluation(value["evaluation"])
        except OSError:
            return None
        except (ValueError, KeyError, TypeError):
            path.unlink(missing_ok=True)
            return None

    def put(self, key: tuple[str, ...], evaluation: Evaluation) -> None:
        """Keep `evaluation` under `key`.

        Raises:
            UserError: The folder cannot be written.
        """
        kept = asdict(replace(evaluation, cost=None))
        text = json.dumps({"schema": SCHEMA, "key": key, "evaluation": kept})
        write_text(self._path(key), text)

    def _path(self, key: tuple[str, ...]) -> Path:
        return self._folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.json"


def _evaluation(value: dict[str, object]) -> Evaluation:
    match value:
        case {
            "suite": str() as suite,
            "recipe": str() as recipe,
            "ids": list() as ids,
            "scores": list() as scores,
        } if len(ids) == len(scores):
            return Evaluation(suite, recipe, tuple(ids), tuple(map(_score, scores)))
        case _:
            raise ValueError("not an evaluation")


def _score(value: dict[str, Any]) -> Score:
    fields: dict[str, Any] = value | {"probabilities": tuple(value["probabilities"])}
    return Score(**fields)
