"""One report written once a process, as intervals and figures take seconds."""

from pathlib import Path

import pytest

from merit_opt.reporting.report import compose, write_report
from tests.reports import facts


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the fixed study's report, another study beside it."""
    folder = tmp_path_factory.mktemp("report")
    write_report(compose(facts(), (facts("other"),)), folder, lambda name, done, total: None)
    return folder
