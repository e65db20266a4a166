"""Which samplers can do what an objective asks of them."""

from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)

from merit_opt.errors import UserError
from merit_opt.evaluation.objective import ConstrainedGain, Objective, ParetoGain
from merit_opt.search.flip_sampler import FlipSampler
from merit_opt.search.samplers import SeededSampler
from merit_opt.search.spaces import SearchSpace

DO_BOTH: tuple[type[BaseSampler], ...] = (TPESampler, GPSampler, NSGAIISampler, NSGAIIISampler)
KNOW_CONSTRAINTS = (*DO_BOTH, FlipSampler)
DO_TWO_OBJECTIVES = (*DO_BOTH, RandomSampler, QMCSampler)


def require_able(
    sampler: SeededSampler, name: str, space: SearchSpace, objective: Objective
) -> str | None:
    """Refuse a sampler that cannot maximise two gains.

    Args:
        sampler: Who proposes.
        name: As the user chose it.
        space: Where recipes come from.
        objective: What is maximised.

    Returns:
        A warning where it will take no notice of the objective's constraint; else None.

    Raises:
        UserError: The objective has two values, and the sampler takes one.
    """
    if not isinstance(objective, ParetoGain | ConstrainedGain):
        return None
    made = sampler.build(0, space)
    if isinstance(objective, ParetoGain) and not isinstance(made, DO_TWO_OBJECTIVES):
        raise UserError(
            f"sampler={name} maximises one value, and objective=pareto has two; give sampler=tpe, "
            "sampler=nsgaii or sampler=random, or objective=penalised"
        )
    if isinstance(objective, ConstrainedGain) and not isinstance(made, KNOW_CONSTRAINTS):
        return (
            f"sampler={name} takes no notice of the constraint of objective=constrained: its "
            "proposals are judged by it, not led by it"
        )
    return None
