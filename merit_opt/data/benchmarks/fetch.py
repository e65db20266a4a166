"""Where a benchmark's files are, fetched from the hub if wanted."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # httpx's, by either of its names
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from merit_opt.data.benchmarks.benchmark import Benchmark
from merit_opt.errors import UserError, causes


def fetched(
    benchmark: Benchmark, variant: str, root: Path | None, *, download: bool, revision: str | None
) -> Path:
    """The folder of the user's copy.

    Raises:
        UserError: There is none, or the hub does not give it.
    """
    if download:
        return _downloaded(benchmark, variant, root, revision or benchmark.revision)
    if root is None:
        raise UserError(
            f"suite.root is null: give it the folder of your copy of {benchmark.name}, in the "
            f"layout it ships{_or_download(benchmark)}"
        )
    if not root.is_dir():
        raise UserError(
            f"suite.root={root} is no folder; give the one that holds your copy of "
            f"{benchmark.name}{_or_download(benchmark)}"
        )
    return root


def _or_download(benchmark: Benchmark) -> str:
    return "" if benchmark.repo is None else f", or suite.download=true to fetch {benchmark.repo}"


def _downloaded(
    benchmark: Benchmark, variant: str, root: Path | None, revision: str | None
) -> Path:
    if benchmark.repo is None:
        raise UserError(
            f"suite.download=true: {benchmark.name} is in no repository of the hub; fetch it as "
            "its authors say and give suite.root the folder"
        )
    try:
        return Path(
            snapshot_download(
                benchmark.repo,
                repo_type="dataset",
                revision=revision,
                allow_patterns=list(benchmark.files[variant]),
                local_dir=root,
            )
        )
    except (OSError, HFValidationError, HTTPError) as error:
        raise UserError(_why_absent(benchmark.repo, revision, error)) from error


def _why_absent(repo: str, revision: str | None, error: Exception) -> str:
    found = list(causes(error))
    if any(isinstance(e, GatedRepoError) for e in found):
        return (
            f"dataset {repo} is gated: accept its terms on its page, then `hf auth login` or set "
            "HF_TOKEN"
        )
    if any(isinstance(e, RepositoryNotFoundError) for e in found):
        return (
            f"there is no dataset {repo} on the hub (or it is private: `hf auth login`); give "
            "suite.root the folder of your copy"
        )
    if any(isinstance(e, RevisionNotFoundError) for e in found):
        return f"dataset {repo} has no revision {revision}; give suite.revision one that it has"
    if any(isinstance(e, LocalEntryNotFoundError | HTTPError) for e in found):
        return (
            f"the hub cannot be reached, and its cache lacks dataset {repo}; give suite.root the "
            f"folder of your copy, or run `hf download {repo} --repo-type dataset` where there is "
            "a network and copy the cache"
        )
    return f"dataset {repo} cannot be downloaded: {' '.join(str(error).split())[:300]}"
