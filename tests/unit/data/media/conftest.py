"""Videos to read, made once a process."""

import pytest

from merit_opt.data.clips.library import clip_library
from merit_opt.data.media import video
from tests.videos import KINDS, encode


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    cache = tmp_path_factory.mktemp("clips")
    return [c.media.path for c in clip_library(cache=cache, clips=6, seed=5, progress=None)]


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A video of `KINDS` by its name, encoded once."""
    folder, found = tmp_path_factory.mktemp("videos"), {}

    def write(name):
        if name not in found:
            found[name] = encode(folder / name, **KINDS[name])
        return found[name]

    return write


@pytest.fixture
def without_decord(monkeypatch):
    monkeypatch.setattr(video, "has_decord", lambda: False)
