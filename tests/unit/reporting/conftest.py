"""One report, as intervals and figures take seconds."""

from pathlib import Path

import pytest
from filelock import FileLock

from merit_opt.reporting.report import compose, write_report
from tests.reports import facts


@pytest.fixture(scope="session")
def written(run_folder: Path) -> Path:
    """The folder of the fixed study's report, another study beside it; once for all processes."""
    folder = run_folder / "report"
    with FileLock(run_folder / "report.lock"):
        if not folder.exists():
            whole = compose(facts(), (facts("other"),))
            write_report(whole, folder, lambda name, done, total: None)
    return folder
