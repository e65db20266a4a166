"""How much a study may do."""

import time
from dataclasses import dataclass, field

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Part

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a study may do.

    Attributes:
        trials: Finished trials wanted, controls and cached answers included; at least 1.
        hours: Stop asking so long after `started`; None never does.
        uniform: Coefficients of the uniform controls, each in (0, 1].
        parts: What the backbone and full controls merge of a layer.
        random_layers: Random-layer controls at the end; at least 0.
        seed: Of proposals and random-layer draws.
        retries: How often a proposal is asked again because its worker stopped; at least 0.
        started: When this process began its work on the study, by the monotonic clock.

    Raises:
        UserError: A value out of its range.
    """

    trials: int
    hours: float | None
    uniform: tuple[float, ...]
    parts: tuple[Part, ...]
    random_layers: int
    seed: int
    retries: int
    started: float = field(default_factory=time.monotonic, compare=False)

    def __post_init__(self) -> None:
        if self.trials < 1 or self.random_layers < 0:
            raise UserError(
                "study.trials is 1 or more and study.random_layers 0 or more; "
                f"got {self.trials} and {self.random_layers}"
            )
        if self.retries < 0:
            raise UserError(f"study.retries is 0 or more; got {self.retries}")
        if self.hours is not None and not self.hours > 0:
            raise UserError(f"study.hours must be above 0 or null, got {self.hours}")
        if outside := [c for c in self.uniform if not 0.0 < c <= 1.0]:
            raise UserError(f"study.uniform coefficients lie in (0, 1], got {outside}")

    def is_late(self) -> bool:
        """Whether its hours are over."""
        spent = time.monotonic() - self.started
        return self.hours is not None and spent > self.hours * SECONDS_PER_HOUR
