"""A storage that somebody else writes to cannot run code here."""

import os
import pickle
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.storages.journal._base import BaseJournalSnapshot
from optuna.trial import create_trial

from merit_opt.errors import UserError
from merit_opt.search.cma_state import restored
from merit_opt.search.samplers import PerProposal, cmaes
from merit_opt.search.spaces import Layerwise

SPACE = Layerwise(2, 0.1, 1.0)
TRIALS = 24


class Hostile:
    def __init__(self, call, *arguments):
        self.call = call, arguments

    def __reduce__(self):
        return self.call


def hex_of(value) -> str:
    return pickle.dumps(value).hex()


def asked(study):
    sampler = PerProposal(cmaes(sigma0=None), seed=0, space=SPACE)
    study.sampler = sampler
    trial = study.ask()
    return trial, SPACE.suggest(trial)


def measured():
    """A study that CMA-ES has proposed a generation of and more."""
    study = optuna.create_study(direction="maximize")
    for _ in range(TRIALS):
        trial, recipe = asked(study)
        study.tell(trial, sum(recipe.coefficients().values()))
    return study


def test_what_cma_es_keeps_is_read_back():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = measured()
    pieces = {k: v for t in study.trials for k, v in t.system_attrs.items() if ":optimizer:" in k}
    text = "".join(pieces[f"cmawm:optimizer:{i}"] for i in range(len(pieces)))
    known = pickle.loads(bytes.fromhex(text))
    assert type(restored(text)) is type(known)
    assert restored(text).generation == known.generation > 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (hex_of(Hostile(os.system, "touch called")), "it names posix.system"),
        (hex_of(Hostile(eval, "1 + 1")), "it names builtins.eval"),
        (hex_of([Hostile(exec, "1")]), "it names builtins.exec"),
        (hex_of([1, 2]), "it is of type list"),
        ("80", "it cannot be read"),
        ("no hex", "it cannot be read"),
        ("", "it cannot be read"),
        (b"cnumpy.__builtins__\neval\n.".hex(), "it names numpy.__builtins__.eval"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0ef2py.os.system\x93.".hex(), "it names numpy.f2py.os"),
    ],
)
def test_any_other_pickle_is_refused_before_it_does_anything(text, why, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=why):
        restored(text)
    assert list(tmp_path.iterdir()) == []


def test_a_study_with_such_a_pickle_ends_the_command_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(direction="maximize")
    space = SPACE.distributions
    params = {name: one.low for name, one in space.items()}
    attrs = {"cmawm:optimizer:0": hex_of(Hostile(os.system, "touch called"))}
    study.add_trial(
        create_trial(params=params, distributions=space, value=1.0, system_attrs=attrs)
    )
    with pytest.raises(UserError, match=r"it names posix\.system; see who else writes"):
        asked(study)
    assert list(tmp_path.iterdir()) == []


def test_a_journal_keeps_no_pickle_of_its_state(tmp_path: Path):
    """Optuna unpickles the snapshots of a backend that takes them."""
    assert not issubclass(JournalFileBackend, BaseJournalSnapshot)
    JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]
