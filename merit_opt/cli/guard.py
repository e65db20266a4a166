"""What a configuration may have instantiated: what the option files name, and nothing else.

A file of options may come from a stranger, by `--config-dir` or in a study's folder. Hydra calls
whatever a `_target_` names, for its callbacks before any of our code runs; so every configuration
that it composes is looked through first.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, cast

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import DictConfig, OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.errors import UserError

TARGET = "_target_"
LAUNCHERS = "hydra/launcher"
HYDRAS_OWN = frozenset(
    {
        "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
        "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    }
)
INSTANTIATED = re.compile(r"hydra\.(launcher|sweeper|callbacks\.\w+)")
NAMED = re.compile(rf"^\s*{TARGET}:\s*(\S+)", re.MULTILINE)
LOGGING = ("job_logging", "hydra_logging")
CALLED = ("formatters", "filters", "handlers")  # of which logging calls what they name


class CheckedLoader(ConfigLoaderImpl):
    """Hydra's, but what it composes is refused where it names what no option file names."""

    def load_configuration(self, *args: Any, **kwargs: Any) -> DictConfig:
        """As Hydra does.

        Raises:
            UserError: See `require_known`.
        """
        composed = super().load_configuration(*args, **kwargs)
        require_known(composed)
        return composed


def guard() -> None:
    """Have `hydra.main` compose by `CheckedLoader`."""
    hydra._internal.hydra.ConfigLoaderImpl = CheckedLoader  # pyright: ignore[reportPrivateImportUsage]


@cache
def allowed(group: str) -> frozenset[str]:
    """What the option files of a group name as their `_target_`."""
    files = (conf_dir() / group).glob("*.yaml")
    return frozenset(name for file in files for name in NAMED.findall(file.read_text()))


def why_refused(place: str, target: object) -> str:
    """In words, with what is known there; empty where an option file names it.

    Args:
        place: Of the group, or below `hydra`.
        target: What the `_target_` there is.
    """
    if INSTANTIATED.fullmatch(place):
        known = allowed(LAUNCHERS) | HYDRAS_OWN
    else:
        known = allowed(place) if re.fullmatch(r"\w+", place) else frozenset[str]()
    if target in known:
        return ""
    told = f"{place}.{TARGET}={str(target)[:200]}" if place else f"{TARGET}={str(target)[:200]}"
    if not known:
        return f"{told} is refused: nothing is instantiated there"
    return f"{told} is refused; the options there have {', '.join(sorted(known))}"


def require_known(cfg: DictConfig) -> None:
    """Nothing in a composed configuration is called that no option file names.

    Raises:
        UserError: A `_target_` is none of its group's, or of Hydra's own settings one could call
            anything or set an environment variable.
    """
    held = OmegaConf.to_container(cfg, resolve=False)
    found = [why for place, target in _targets(held) if (why := why_refused(place, target))]
    found += _settings(held.get("hydra") or {}) if isinstance(held, dict) else ()
    if found:
        raise UserError("; ".join(found))


def _targets(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    pairs: Iterable[tuple[object, object]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(cast("list[object]", value))
    for key, own in pairs:
        if key == TARGET:
            yield place, own
        else:
            yield from _targets(own, f"{place}.{key}" if place else str(key))


def _settings(of_hydra: Mapping[str, Any]) -> Iterator[str]:
    for group in LOGGING:
        for key in CALLED:
            if (of_hydra.get(group) or {}).get(key):
                yield f"hydra.{group}.{key} is refused: nothing is logged through Hydra here"
    if (of_hydra.get("job") or {}).get("env_set"):
        yield "hydra.job.env_set is refused: set environment variables in the shell"
