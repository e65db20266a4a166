"""Trials in this process's memory: for tests and measurements."""

from optuna.storages import InMemoryStorage

from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.storage.turns import by_thread


def in_memory() -> PatientStorage:
    """An empty storage, gone with its process."""
    return PatientStorage(
        InMemoryStorage(), by_thread(), name="in memory", patience=0.0, grace=60.0
    )
