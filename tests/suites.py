"""Suites that are made up: only their samples and roles matter."""

from collections.abc import Iterable, Mapping

from merit_opt.data.media.frames import ALL_FRAMES, FramePlan
from merit_opt.data.prompts import LETTER_AFTER_OPTION
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Asking, Role, Roles, Suite


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
