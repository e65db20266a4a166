"""A study that begins with what another one found."""

from collections.abc import Mapping

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import Study, get_all_study_names, load_study

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.samplers import enqueue
from merit_opt.search.spaces import Params, SearchSpace
from merit_opt.search.trial import told_records
from merit_opt.tracking.record import TrialRecord

FORKED_FROM = "forked_from"


def require_forkable(storage: BaseStorage, old: str, new: str) -> Study:
    """The study `old`, to fork as `new`.

    Raises:
        UserError: There is no such study, or both have one name.
    """
    if old == new:
        raise UserError(f"study.fork={new} is the name of the study to fork; give another")
    names = get_all_study_names(storage)
    if old not in names:
        raise UserError(
            f"study.fork={new} starts from study {old}, and there is none in this storage; "
            f"study.name= says which to fork ({', '.join(names) or 'it holds no study yet'})"
        )
    return load_study(study_name=old, storage=storage)


def require_same_origin(new: str, known: str | None, old: str) -> None:
    """A fork goes on with the study that it was made from.

    Args:
        new: The fork.
        known: Where it was made from; None where it is new.
        old: Where it is to go on from.

    Raises:
        UserError: They are two.
    """
    if known not in (None, old):
        raise UserError(
            f"study {new} is a fork of study {known}, and study.name= now gives {old}: give "
            f"study.name={known} to go on with it, or another study.fork=NEW for a fork of {old}"
        )


def queue_fork(study: Study, old: Study, space: SearchSpace, *, room: int) -> int:
    """Queue the proposals that `old` measured and that lie in `space`, best first.

    Recipes decide, not parameters: the old space may be another. One that is queued already, or
    was, is not queued again.

    Args:
        study: The new one.
        old: Where from.
        space: The new study's.
        room: At most so many, 0 or more.

    Returns:
        How many were queued now.
    """
    trials = study.get_trials(deepcopy=False)
    known = {t.user_attrs[FORKED_FROM][1] for t in trials if FORKED_FROM in t.user_attrs}
    new = [found for found in _proposals(old, space) if found[0].number not in known]
    for record, params in new[:room]:
        enqueue(study, {FORKED_FROM: [old.study_name, record.number]}, params)
    return len(new[:room])


def _proposals(old: Study, space: SearchSpace) -> list[tuple[TrialRecord, Params]]:
    told = told_records(old).values()
    records = [r for r in told if r.role == "trial" and r.value is not None]
    found: dict[Recipe, tuple[TrialRecord, Params]] = {}
    for record in sorted(records, key=lambda r: (not r.feasible, -(r.value or 0.0), r.number)):
        params = space.params(record.recipe)
        if params is not None and _fits(params, space.distributions):
            found.setdefault(record.recipe, (record, params))
    return list(found.values())


def _fits(params: Params, distributions: Mapping[str, BaseDistribution]) -> bool:
    """Optuna takes a queued value out of range as it is."""
    return params.keys() == distributions.keys() and all(
        distribution._contains(distribution.to_internal_repr(params[name]))  # pyright: ignore[reportPrivateUsage]
        for name, distribution in distributions.items()
    )
