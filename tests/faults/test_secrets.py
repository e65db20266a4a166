"""A password in the address of a storage or of MLflow is found nowhere but there.

What is searched: all files that a command leaves, MLflow's database and files, the storage, and all
that is printed.
"""

import shlex
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from merit_opt.search.storage.postgres import open_postgres
from tests.faults.mlflow_server import MlflowServer

pytestmark = pytest.mark.timeout(600)

CANARY = "xQ7-kanarie-%21-vogel"
SUITE = "suite.clips=10 suite.tr_per_clip=2 suite.tp_per_clip=2"
RUN = "merit_opt.cli.main:run"


def holds(content: bytes) -> bool:
    return b"kanarie" in content


def found_in(folder: Path) -> list[Path]:
    """Files that hold the canary, in their names or within."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [p for p in files if holds(p.read_bytes()) or holds(str(p).encode())]


@pytest.fixture
def command(tmp_path, nursery):
    """Runs `merit-opt LINE` in a process of its own in an empty folder, and looks at all that it
    says.
    """

    def run(line):
        code = nursery.code(nursery.start(tmp_path, RUN, shlex.split(line)))
        said = (tmp_path / "said").read_text()
        assert code == 0, said
        assert not holds(said.encode()), said
        return said

    return run


@pytest.fixture
def server(nursery, empty_mlflow, tmp_path):
    (tmp_path / "server").mkdir()
    served = MlflowServer(nursery, Path(shutil.copy(empty_mlflow, tmp_path / "server")))
    try:
        served.start()
        yield served
    finally:
        served.stop()


def kept_by(address: str) -> str:
    """All that a storage holds of its studies."""
    storage = open_postgres(url=address, patience=0.0, grace=60.0)
    with closing(storage):
        studies = storage.get_all_studies()
        attrs = [(study.user_attrs, study.system_attrs) for study in studies]
        return repr((attrs, [storage.get_all_trials(study._study_id) for study in studies]))


def test_a_search_keeps_no_password(command, postgres, server, tmp_path):
    address = postgres.database().replace("postgres:@", f"postgres:{CANARY}@")
    tracking = server.uri.replace("//", f"//me:{CANARY}@")
    here = f"storage=postgres \"storage.url='{address}'\" \"tracking.uri='{tracking}'\""
    told = command(f"search {SUITE} study.trials=3 study.name=small {here}")
    assert "//…@" in told
    command(f"report study=small samples=0 {here}")
    study = tmp_path / "outputs" / "studies" / "small"
    assert "//…@" in (study / "config.yaml").read_text()
    assert "//…@" in (study / "report" / "report.html").read_text()
    assert len([*(tmp_path / "server").rglob("*.json")]) > 3
    assert found_in(tmp_path) == []
    kept = kept_by(address)
    assert "fingerprint" in kept
    assert not holds(kept.encode())
    (tmp_path / "seen").write_text(f"x{CANARY}")
    assert found_in(tmp_path) == [tmp_path / "seen"]
