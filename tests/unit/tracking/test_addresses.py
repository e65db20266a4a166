"""Where MLflow cannot be is told before a study starts."""

import pytest

from merit_opt.errors import UserError
from merit_opt.tracking.mlflow import MlflowTracker


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mlruns", r"tracking.uri starts with sqlite:///.*got 'mlruns'"),
        ("postgresql://host/db", r"give tracking.artifacts a folder or a bucket"),
    ],
)
def test_an_address_that_cannot_work_is_refused(uri: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        MlflowTracker(uri=uri, artifacts=None, experiment="merit_opt", patience=0.0)
