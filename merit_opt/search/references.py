"""`recipe=study:NAME` and `recipe=study:NAME/17`: recipes found in a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from optuna.storages import BaseStorage
from optuna.study import Study, get_all_study_names, load_study

from merit_opt.data.leakage import ShownMedium, media_of_rows
from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.fingerprint import ATTR, digest
from merit_opt.search.trial import best, told_records
from merit_opt.tracking.record import StudyRecord, TrialRecord

PREFIX = "study:"
SHOWN = "searched media"
UID = "uid"  # drawn when the study was made
SEARCHED = "searched_media.json"  # beside a recipe that a study leaves


@dataclass(frozen=True, slots=True)
class FoundRecipe:
    """A recipe with the pair it was found on.

    Attributes:
        recipe: The trial's.
        pair: Digest of the study's pair.
        searched: Media that the search saw.
    """

    recipe: Recipe
    pair: str
    searched: tuple[ShownMedium, ...]


def study_recipe(storage: BaseStorage, reference: str) -> FoundRecipe:
    """The recipe of a study's best trial, or of the trial numbered after the last slash.

    Args:
        storage: Where the study is.
        reference: `study:NAME` or `study:NAME/NUMBER`.

    Raises:
        UserError: There is no such study or trial, or it has no finished trial yet.
    """
    name = reference.removeprefix(PREFIX)
    names = get_all_study_names(storage)
    if name in names:
        study = load_study(study_name=name, storage=storage)
        record = best(study)
        if record is None:
            raise UserError(f"study {name} has no finished trial yet")
        return _found(study, record)
    head, slash, number = name.rpartition("/")
    if slash and head in names and number.isdigit():
        study = load_study(study_name=head, storage=storage)
        return _found(study, _trial(study, int(number)))
    raise no_study(name, names, PREFIX)


def no_study(name: str, names: Sequence[str], prefix: str = "") -> UserError:
    """That a storage, whose studies these are, has none of that name; the nearest is named."""
    near = get_close_matches(name, names, n=1, cutoff=0.0)
    hint = f"did you mean {prefix}{near[0]}?" if near else "it holds no study yet"
    return UserError(f"there is no study {name!r} in this storage; {hint}")


def tracked_study(storage: BaseStorage, reference: str) -> StudyRecord:
    """What tells the study of a reference from all others where it is tracked.

    Args:
        storage: Where the study is.
        reference: As of `study_recipe`, and found by it.
    """
    study = load_study(study_name=study_name(storage, reference), storage=storage)
    own = digest(study.user_attrs[ATTR])
    return StudyRecord(study.study_name, own, {}, "", uid=study.user_attrs.get(UID, ""))


def study_name(storage: BaseStorage, reference: str) -> str:
    """Of the study that a reference is to, which is there."""
    name = reference.removeprefix(PREFIX)
    return name if name in get_all_study_names(storage) else name.rpartition("/")[0]


def _found(study: Study, record: TrialRecord) -> FoundRecipe:
    searched = media_of_rows(study.user_attrs.get(SHOWN, []))
    return FoundRecipe(record.recipe, study.user_attrs[ATTR]["pair"], searched)


def _trial(study: Study, number: int) -> TrialRecord:
    record = told_records(study).get(number)
    if record is None or record.state == "FAIL":
        raise UserError(f"study {study.study_name} has no measured trial {number}")
    return record
