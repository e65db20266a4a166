"""Which samplers can do what an objective asks of them, with the trials that a budget has."""

from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.trial import FixedTrial

from merit_opt.errors import UserError
from merit_opt.evaluation.objective import ConstrainedGain, Objective, ParetoGain
from merit_opt.search.budget import Budget
from merit_opt.search.controls import fixed_controls
from merit_opt.search.flip_sampler import FlipSampler
from merit_opt.search.samplers import SeededSampler
from merit_opt.search.spaces import SearchSpace, switched_on

DO_BOTH: tuple[type[BaseSampler], ...] = (TPESampler, GPSampler, NSGAIISampler, NSGAIIISampler)
KNOW_CONSTRAINTS = (*DO_BOTH, FlipSampler)
DO_TWO_OBJECTIVES = (*DO_BOTH, RandomSampler, QMCSampler)

# Beside one flip of every switch on the way up and, where all may be on, one on the way down: the recipes that climbs
# begin with, milder coefficients, and flips that are tried again.
BESIDE_FLIPS = 15


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


def short_of_trials(
    sampler: SeededSampler, name: str, space: SearchSpace, budget: Budget
) -> str | None:
    """What a user is told whose budget ends before the sampler's climbs do; None where it suffices.

    Args:
        sampler: Who proposes.
        name: As the user chose it.
        space: Where recipes come from.
        budget: How much it may do.
    """
    if not isinstance(sampler.build(0, space), FlipSampler):
        return None
    controls = budget.random_layers + sum(
        1 for _ in fixed_controls(space.n_layers, budget.uniform, budget.parts)
    )
    params = {k: v for switch in space.switches for k, v in switch.on.items()}
    is_peeled = switched_on(space, space.suggest(FixedTrial(params))) == len(space.switches)
    wanted = (1 + is_peeled) * len(space.switches) + BESIDE_FLIPS
    if budget.trials >= wanted + controls:
        return None
    return (
        f"sampler={name} sees its climbs through in about {wanted} proposals in this space, and "
        f"study.trials={budget.trials} has room for {max(0, budget.trials - controls)} beside "
        f"{controls} controls; study.trials={wanted + controls} suffices"
    )
