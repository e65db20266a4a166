"""A hub's client, run in a process of its own that has not imported huggingface_hub."""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Job = tuple[Mapping[str, Any], Iterable[str]]


def tell(environment: Mapping[str, str], jobs: Iterable[Job]) -> int:
    """Keep in the file `told` what is said of each pair: step -> its answer, and the error."""
    assert "huggingface_hub" not in sys.modules, "it reads the environment as it is imported"
    os.environ.update(environment)
    Path("told").write_text(json.dumps([_told(*job) for job in jobs]))
    return 0


def _told(fields: Mapping[str, Any], steps: Iterable[str]) -> dict[str, Any]:
    from merit_opt.errors import UserError
    from merit_opt.models.source import PairSource

    found: dict[str, Any] = {}
    try:
        source = PairSource(**{**fields, "accept": tuple(fields["accept"])})
        for step in steps:
            found[step] = _answer(source, step)
    except UserError as error:
        found["error"] = str(error)
    return found


def _answer(source: Any, step: str) -> Any:
    from merit_opt.models.footprint import likely_dtype

    answers = {
        "export": _export,
        "alignment": lambda source: source.alignment and None,
        "stored": lambda source: source.stored and None,
        "stored_base": lambda source: source.stored_base and None,
        "digest": lambda source: source.digest,
        "folder": lambda source: str(source.vlm_checkpoint.folder),
        "dtype": lambda source: str(likely_dtype(source)),
        "has_weights": lambda source: [c.has_weights for c in source.checkpoints],
    }
    return answers[step](source)


def _export(source: Any) -> None:
    from merit_opt.models.export import export_checkpoint
    from merit_opt.models.merge import merge_of_recipe
    from merit_opt.recipe.constructors import attention

    merge = merge_of_recipe(source, attention(9, {3: 1.0}))
    export_checkpoint(source, merge, Path("out"), (), lambda *_: None)
