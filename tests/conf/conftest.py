"""Every option file of the repository, and composition as the command line does it."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from merit_opt.cli import conf_dir
from merit_opt.cli.schema import register

Compose = Callable[..., DictConfig]


@pytest.fixture(scope="session")
def conf() -> Path:
    return conf_dir()


@pytest.fixture(scope="module")
def composed() -> Iterator[Compose]:
    """Composes a verb's configuration under overrides."""
    register()

    def make(verb: str, overrides: Sequence[str] = (), *, hydra: bool = False) -> DictConfig:
        return compose(verb, overrides=list(overrides), return_hydra_config=hydra)

    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        yield make
