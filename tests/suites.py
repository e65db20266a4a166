"""Suites that are made up: only their samples and roles matter."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from merit_opt.data.jsonl import jsonl_suite
from merit_opt.data.media.frames import ALL_FRAMES, FramePlan
from merit_opt.data.prompts import LETTER_AFTER_OPTION
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Asking, Role, Roles, Suite

USUAL: Mapping[str, Any] = {
    "prompt": "letter",
    "scorer": "letter_logprob",
    "permutations": 1,
    "decoding": "greedy",
    "max_new_tokens": 8,
    "sampling": "uniform",
    "frames": 8,
    "fps": 1.0,
    "max_unusable": 0.0,
    "select": "all",
    "n": 1,
    "select_seed": 0,
    "margins": None,
    "progress": None,
}
"""How a suite that is read is asked, and which of it, where a test is about something else."""


def made_up(
    samples: Iterable[Sample],
    roles: Mapping[str, Role],
    *,
    frames: FramePlan = ALL_FRAMES,
    max_unusable: float = 0.0,
) -> Suite:
    """Roles are of the category `kind`."""
    asking = Asking(LETTER_AFTER_OPTION, frames, scorer="letter_logprob", permutations=1)
    return Suite("toy", "1", tuple(samples), asking, Roles("kind", roles), (), max_unusable)


def jsonl(path: Path, **changed: Any) -> Suite:
    """The questions of a file, with these settings in place of usual ones."""
    keys: dict[str, Any] = {
        "path": path,
        "root": None,
        "role_field": "role",
        "roles": {"TR": ("TR",), "TP": ("TP",)},
        "cache": Path("unused"),
    }
    return jsonl_suite(**{**USUAL, **keys, **changed})
