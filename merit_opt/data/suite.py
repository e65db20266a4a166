"""A named, versioned list of samples with everything that shapes its scores."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Self

from merit_opt.data.sample import Sample

Role = Literal["TR", "TP", "other"]


@dataclass(frozen=True)
class Suite:
    """Samples with their prompt, frame count and roles.

    Attributes:
        name: Short, as in `suite=NAME`.
        revision: Version of the samples.
        samples: In canonical order.
        prompt: Name of a prompt in `merit_opt.data.prompts`.
        frames: Frames read from each video; None reads all of them.
        roles: Category -> role; categories not named are `other`.
    """

    name: str
    revision: str
    samples: tuple[Sample, ...]
    prompt: str
    frames: int | None
    roles: Mapping[str, Role]

    @cached_property
    def digest(self) -> str:
        """12 hex digits over content: samples, media contents, prompt, frames and roles."""
        rows = [
            [s.id, [m.digest for m in s.media], s.question, s.options, s.answer, s.categories,
             s.group_id]
            for s in self.samples
        ]  # fmt: skip
        value = [self.name, self.revision, self.prompt, self.frames, dict(self.roles), rows]
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]

    def role(self, sample: Sample) -> Role:
        """The role of the sample's first category."""
        return self.roles.get(sample.categories[0], "other") if sample.categories else "other"

    def only(self, ids: Iterable[str]) -> Self:
        """The same suite with only the samples named, in the same order."""
        wanted = frozenset(ids)
        return replace(self, samples=tuple(s for s in self.samples if s.id in wanted))
