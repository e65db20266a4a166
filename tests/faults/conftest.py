"""One nursery for the fault tests of a process."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.nursery import Nursery, opened_nursery


@pytest.fixture(scope="session")
def environment(repo: Path) -> dict[str, str]:
    """Of a process of its own, in whatever folder it starts."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repo)}


@pytest.fixture(scope="session")
def empty_mlflow(run_folder: Path) -> Path:
    """An MLflow database without a run, made once for all processes of a test run."""
    from merit_opt.tracking.local_store import prepare
    from merit_opt.tracking.mlflow import create_database

    template = run_folder / "mlflow_template" / "mlflow.db"
    prepare(template, create_database)
    return template


@pytest.fixture(scope="session")
def nursery(environment: dict[str, str]) -> Iterator[Nursery]:
    if sys.platform != "linux":
        pytest.skip("forks, and looks into /proc")
    with opened_nursery(environment) as nursery:
        yield nursery
