"""Notes and pictures for optuna-dashboard, in the study's own storage.

Optuna attaches files to running trials only. What is written here is written once a trial is
told, so it goes to the study's attributes, where optuna-dashboard looks too: under the keys of
notes, and under those that its first versions gave artefacts. Every write may be repeated.
"""

import importlib.util
import json
import mimetypes
import shlex
import uuid
from collections.abc import Iterable
from pathlib import Path

from optuna.storages import BaseStorage
from optuna.study import Study

from merit_opt.errors import UserError
from merit_opt.files import content_digest, write_bytes
from merit_opt.recipe.origin import Origin
from merit_opt.recipe.store import RECIPE_FILE, recipe_text
from merit_opt.search.storage.postgres import DRIVER
from merit_opt.tracking import rows
from merit_opt.tracking.layer_strip import layer_strip
from merit_opt.tracking.record import TrialRecord

# What a storage takes in one attribute; optuna-dashboard joins a note's pieces.
PIECE = 2045

POSTGRES = ("postgresql", "postgres")


class Dashboard:
    """Keeps a note, the recipe and its picture for every told trial of a study.

    Attributes:
        study: Whose trials.
        storage: Where the study is kept.
        folder: Where files go.
        origin: The pair that recipes are found on, for their files; None tells none.

    Raises:
        UserError: optuna-dashboard is not installed.
    """

    def __init__(
        self, study: Study, storage: BaseStorage, folder: Path, origin: Origin | None
    ) -> None:
        require_installed()
        self.study, self.storage, self.folder = study, storage, folder
        self.origin = origin
        self._study_id = storage.get_study_id_from_name(study.study_name)

    def repair(self, told: Iterable[TrialRecord]) -> None:
        """Write what is missing of the told trials.

        Raises:
            UserError: The folder cannot be written.
        """
        kept = self.storage.get_study_system_attrs(self._study_id)
        trials = self.study.get_trials(deepcopy=False)
        for record in told:
            trial_id = trials[record.number]._trial_id  # pyright: ignore[reportPrivateUsage]
            if _version(trial_id) not in kept:
                self._keep(trial_id, record)

    def keep(self, trial: TrialRecord) -> None:
        """Write the note, the recipe and the picture of one told trial.

        Raises:
            UserError: The folder cannot be written.
        """
        find = self.storage.get_trial_id_from_study_id_trial_number
        self._keep(find(self._study_id, trial.number), trial)

    def finish(self, note: str) -> None:
        """Write the study's note, unless it stands there already."""
        from optuna_dashboard import get_note, save_note

        if get_note(self.study) != note:
            save_note(self.study, note)

    def _keep(self, trial_id: int, trial: TrialRecord) -> None:
        picture = layer_strip(trial.recipe, title=rows.headline(trial))
        self._attach(trial_id, "layers.png", picture)
        text = recipe_text(trial.recipe, self.origin)
        self._attach(trial_id, RECIPE_FILE, text.encode())
        note = rows.note(trial) + (f"\n\ncontrol `{trial.name}`" if trial.name else "")
        for i in range(0, len(note), PIECE):
            self._set(f"dashboard:{trial_id}:note_str:{i // PIECE}", note[i : i + PIECE])
        self._set(_version(trial_id), 1)  # last: it says that the rest is there

    def _attach(self, trial_id: int, name: str, content: bytes) -> None:
        # The same of every worker and at every attempt, so that no file is kept twice.
        whose = f"{self.study.study_name}/{trial_id}/{name}/{content_digest(content)}"
        artefact = str(uuid.uuid5(uuid.NAMESPACE_OID, whose))
        write_bytes(self.folder / artefact, content)
        mimetype, encoding = mimetypes.guess_type(name)
        said = {"filename": name, "mimetype": mimetype, "encoding": encoding}
        meta = json.dumps({"artifact_id": artefact, **said})
        self._set(f"dashboard:artifacts:{trial_id}:{artefact}", meta)

    def _set(self, key: str, value: str | int) -> None:
        self.storage.set_study_system_attr(self._study_id, key, value)


def require_installed() -> None:
    """What reads the notes is an extra.

    Raises:
        UserError: It is not installed.
    """
    if importlib.util.find_spec("optuna_dashboard") is None:
        raise UserError(
            "study.dashboard=true needs optuna-dashboard, which is not installed: "
            "pip install 'merit-opt[dashboard]', or leave study.dashboard=false"
        )


def command(storage: str, folder: Path) -> str:
    """What a user types to look at the studies of a storage, given by URL or as a journal's path."""
    return shlex.join(["optuna-dashboard", *_place(storage), "--artifact-dir", str(folder)])


def _place(storage: str) -> tuple[str, ...]:
    """As optuna-dashboard finds it: a journal by its class, PostgreSQL by the driver that we have."""
    scheme, is_url, rest = storage.partition("://")
    if not is_url:
        return storage, "--storage-class", "JournalFileStorage"
    return (f"{DRIVER if scheme in POSTGRES else scheme}://{rest}",)


def _version(trial_id: int) -> str:
    return f"dashboard:{trial_id}:note_ver"
