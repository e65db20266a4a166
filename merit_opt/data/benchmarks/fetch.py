"""Where a benchmark's files are, fetched from the hub if wanted."""

from pathlib import Path

from merit_opt.data.benchmarks.benchmark import Benchmark


def fetched(
    benchmark: Benchmark, variant: str, root: Path | None, *, download: bool, revision: str | None
) -> Path:
    """The folder of the user's copy.

    Raises:
        UserError: There is none, or the hub does not give it.
    """
    raise NotImplementedError
