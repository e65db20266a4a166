import sys

import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from merit_opt.data.benchmarks import fetch
from merit_opt.data.benchmarks.fetch import fetched
from merit_opt.errors import UserError
from tests.unit.data.benchmarks.test_benchmark import made_up

# The client is httpx by either of its names.
HTTPX = sys.modules[HTTPError.__module__]
RESPONSE = HTTPX.Response(404, request=HTTPX.Request("GET", "https://hub.example"))


def of(root, *, download=False, revision=None, variant="plain", **changes):
    return fetched(made_up(**changes), variant, root, download=download, revision=revision)


@pytest.fixture
def asked(monkeypatch, tmp_path):
    calls = []

    def answer(repo, **settings):
        calls.append((repo, settings))
        return str(tmp_path / "snapshot")

    monkeypatch.setattr(fetch, "snapshot_download", answer)
    return calls


def test_a_folder_is_taken_as_it_is_and_nothing_is_asked_of_the_hub(asked, tmp_path):
    assert of(tmp_path) == tmp_path
    assert asked == []


def test_no_folder_and_no_download_is_a_sentence(tmp_path):
    with pytest.raises(
        UserError, match=r"suite.root is null: .*or suite.download=true to fetch acme"
    ):
        of(None)
    with pytest.raises(UserError, match=r"suite.root is null: .*in the layout it ships$"):
        of(None, repo=None)


def test_what_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for root in (tmp_path / "gone", tmp_path / "file"):
        with pytest.raises(UserError, match=rf"suite.root={root} is no folder; give the one"):
            of(root)


@pytest.mark.parametrize("variant", ["plain", "heard"])
def test_the_files_of_the_variant_are_fetched_at_the_commit_that_was_read(
    asked, tmp_path, variant
):
    assert of(None, download=True, variant=variant) == tmp_path / "snapshot"
    [(repo, settings)] = asked
    assert repo == "acme/toy"
    assert settings == {
        "repo_type": "dataset",
        "revision": "0" * 40,
        "allow_patterns": list(made_up().files[variant]),
        "local_dir": None,
    }


def test_they_are_fetched_to_the_users_folder_at_the_users_revision(asked, tmp_path):
    of(tmp_path / "new", download=True, revision="v2")
    [(_, settings)] = asked
    assert (settings["local_dir"], settings["revision"]) == (tmp_path / "new", "v2")


def test_a_benchmark_that_the_hub_does_not_have_is_not_downloaded(asked):
    with pytest.raises(
        UserError, match="toy is in no repository of the hub; fetch it as its auth"
    ):
        of(None, download=True, repo=None)
    assert asked == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (GatedRepoError("403", response=RESPONSE), "gated: accept its terms .* or set HF_TOKEN"),
        (RepositoryNotFoundError("404", response=RESPONSE), "no dataset acme/toy on the hub"),
        (RevisionNotFoundError("404", response=RESPONSE), "no revision v2; give suite.revision"),
        (LocalEntryNotFoundError("offline"), "cannot be reached, .*hf download acme/toy --repo-t"),
        (HTTPX.ConnectError("refused"), "the hub cannot be reached"),
        (OSError("No space left\n on device"), "be downloaded: No space left on device"),
        (HFValidationError("bad id"), "be downloaded: bad id"),
    ],
)
def test_what_the_hub_refuses_is_a_sentence_that_says_what_to_do(monkeypatch, error, told):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(fetch, "snapshot_download", refuse)
    with pytest.raises(UserError, match=told) as caught:
        of(None, download=True, revision="v2")
    assert "\n" not in str(caught.value)


def test_a_cause_below_the_error_is_what_is_told(monkeypatch):
    def refuse(*_, **__):
        raise LocalEntryNotFoundError("not here") from GatedRepoError("403", response=RESPONSE)

    monkeypatch.setattr(fetch, "snapshot_download", refuse)
    with pytest.raises(UserError, match="is gated"):
        of(None, download=True)


def test_without_a_network_a_dataset_that_is_not_in_the_cache_is_a_sentence(tmp_path):
    """By the client itself, which the tests run offline."""
    with pytest.raises(UserError, match=r"the hub cannot be reached, and its cache lacks"):
        of(tmp_path / "new", download=True)
