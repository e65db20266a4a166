"""Whether proposals that can no longer win are stopped."""

from collections.abc import Callable

from merit_opt.search.samplers import SeededSampler

Pruner = Callable[[SeededSampler], bool]
"""Whether to curtail the proposals of a sampler."""


def auto() -> Pruner:
    """Curtail where the sampler does not learn from values, which a stopped trial lacks."""
    return lambda sampler: not sampler.learns


def none() -> Pruner:
    """Measure every proposal in full."""
    return lambda _sampler: False


def curtail() -> Pruner:
    """Stop every proposal that can no longer win; a sampler that learns is told less."""
    return lambda _sampler: True
