"""An MLflow server that is gone for a while costs a study nothing."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cheap_study import TOLD, WORKER
from tests.faults.kept import lines, require_told, require_tracked, require_whole, wait_for
from tests.faults.mlflow_server import MlflowServer
from tests.faults.nursery import Nursery

pytestmark = [
    pytest.mark.timeout(280),
    pytest.mark.skipif(sys.platform != "linux", reason="forks"),
]

TRIALS, WORKERS = 24, 2
SECONDS = 0.5


@pytest.fixture
def server(nursery: Nursery, empty_mlflow: Path, tmp_path: Path) -> Iterator[MlflowServer]:
    served = MlflowServer(nursery, Path(shutil.copy(empty_mlflow, tmp_path)))
    try:
        served.start()
        yield served
    finally:
        served.stop()


def test_a_study_goes_on_without_its_mlflow_server_and_repairs_what_it_missed(
    nursery, server, tmp_path
):
    place, told = str(tmp_path / "kept"), tmp_path / TOLD

    def start() -> int:
        options = {"tracking": server.uri}
        return nursery.start(tmp_path, WORKER, "sqlite", place, TRIALS, SECONDS, options)

    workers = [start() for _ in range(WORKERS)]
    wait_for(lambda: len(lines(told)) >= 4)
    server.stop()
    before = len(lines(told))
    wait_for(lambda: len(lines(told)) > before + 3 * WORKERS)
    server.start()
    codes = [nursery.code(one) for one in workers]
    said = (tmp_path / "said").read_text()
    assert codes == [0] * WORKERS, said
    assert "Traceback" not in said
    assert f"MLflow at {server.uri} cannot be written" in said
    assert "the study goes on, and its next start repairs the record" in said
    done = require_whole("sqlite", place, TRIALS)
    require_told(tmp_path, done)
    assert nursery.code(start()) == 0
    require_tracked(server.database, done)
