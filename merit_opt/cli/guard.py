"""What a configuration may have instantiated: what the option files name, and nothing else.

A file of options may come from a stranger, by `--config-dir` or in a study's folder. Hydra calls
whatever a `_target_` names, for its callbacks before any of our code runs; so every configuration
that it composes is looked through first.
"""

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, cast

import hydra._internal.hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.global_hydra import GlobalHydra
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
KEYED = ("job", "launcher", "sweeper", "callbacks", *LOGGING)

# Resolvers that make no keys of their argument, so no `_target_`: theirs are words and numbers, or
# what stands in the configuration anyway.
HARMLESS = ("oc.env", "hydra", "now", "python_version", "workers")
REFERENCE = re.compile(r"\$\{[\w.\[\]/@ -]+\}")
RESOLVED = re.compile(rf"\$\{{\s*(?:{'|'.join(map(re.escape, HARMLESS))})\s*:[^${{}}]*\}}")
# What the user typed, once more, which Hydra keeps for what it shows.
REPEATED = ("hydra.overrides.", "hydra.job.override_dirname")
NO_RESOLVER = re.compile(r"(?!)")
UNFOLLOWED = re.compile(r"hydra\.(launcher|sweeper|callbacks|job_logging|hydra_logging)\..*")


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
    """Have `hydra.main` compose by `CheckedLoader`.

    Raises:
        UserError: This version of Hydra does not take it.
    """
    hydra._internal.hydra.ConfigLoaderImpl = CheckedLoader  # pyright: ignore[reportPrivateImportUsage]
    made = hydra._internal.hydra.Hydra.create_main_hydra2("guard", ConfigSearchPathImpl())
    GlobalHydra.instance().clear()
    if not isinstance(made.config_loader, CheckedLoader):
        raise UserError(
            f"this version of Hydra, {hydra.__version__}, does not let its configurations be "
            "looked through; install hydra-core in the version that requirements.lock names"
        )


@cache
def allowed(group: str) -> frozenset[str]:
    """What the option files of a group name as their `_target_`."""
    files = (conf_dir() / group).glob("*.yaml")
    return frozenset(name for file in files for name in NAMED.findall(file.read_text()))


@cache
def _own_references() -> frozenset[str]:
    """What the launchers' option files say with `${`, to the letter."""
    files = (conf_dir() / LAUNCHERS).glob("*.yaml")
    texts = (own for file in files for _, own in leaves(_plain(OmegaConf.load(file))))
    return frozenset(text for text in texts if isinstance(text, str) and "${" in text)


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
    if isinstance(target, str) and target in known:
        return ""
    told = f"{place}.{TARGET}={str(target)[:200]}" if place else f"{TARGET}={str(target)[:200]}"
    if not known:
        return f"{told} is refused: nothing is instantiated there"
    return f"{told} is refused; the options there have {', '.join(sorted(known))}"


def unfollowed(text: str, resolved: re.Pattern[str] = RESOLVED) -> str:
    """The first of what `text` looks up that is no plain reference and none of `resolved`.

    Args:
        text: As a configuration has it.
        resolved: Uses of resolvers that are let through.
    """
    left, before = text, ""
    while left != before:  # from the innermost
        before, left = left, resolved.sub("_", REFERENCE.sub("_", left))
    return left[left.index("${") :][:80] if "${" in left else ""


def require_known(cfg: DictConfig) -> None:
    """Nothing in a composed configuration is called that no option file names.

    Raises:
        UserError: A `_target_` is none of its group's, a resolver could make one, or of Hydra's
            own settings one could call anything or set an environment variable.
    """
    held = _plain(cfg)
    found = [why for place, target in _targets(held) if (why := why_refused(place, target))]
    of_hydra = held.get("hydra") if isinstance(held, dict) else None
    found += _settings({} if of_hydra is None else of_hydra)
    found += (why for place, own in leaves(held) if (why := _why_not_followed(place, own)))
    if found:
        raise UserError("; ".join(dict.fromkeys(found)))


def leaves(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    """Every value that has no others below it, with its place, such as `suite.paths.0`."""
    pairs = _pairs(value)
    for key, own in pairs:
        yield from leaves(own, f"{place}.{key}" if place else str(key))
    if not isinstance(value, dict | list):
        yield place, value


def _plain(cfg: Any) -> object:
    return OmegaConf.to_container(cfg, resolve=False)


def _pairs(value: object) -> Iterable[tuple[object, object]]:
    if isinstance(value, dict):
        return cast("dict[object, object]", value).items()
    return enumerate(cast("list[object]", value)) if isinstance(value, list) else ()


def _targets(value: object, place: str = "") -> Iterator[tuple[str, object]]:
    for key, own in _pairs(value):
        if key == TARGET:
            yield place, own
        else:
            yield from _targets(own, f"{place}.{key}" if place else str(key))


def _why_not_followed(place: str, value: object) -> str:
    if not isinstance(value, str) or "${" not in value or place.startswith(REPEATED):
        return ""
    if UNFOLLOWED.fullmatch(place) and value not in _own_references():
        return f"{place}={value[:80]} is refused: nothing is looked up there; write its value"
    if why := unfollowed(value):
        allowed_ones = ", ".join(f"${{{name}:…}}" for name in HARMLESS)
        return f"{place} has {why}, which is refused; it may have ${{KEY}}, {allowed_ones}"
    return ""


def _settings(of_hydra: object) -> Iterator[str]:
    if not isinstance(of_hydra, dict):
        yield f"hydra={str(of_hydra)[:80]} is refused: it holds keys"
        return
    held = cast("dict[str, Any]", of_hydra)
    for group in KEYED:
        if not isinstance(held.get(group) or {}, dict):
            yield f"hydra.{group}={str(held[group])[:80]} is refused: it holds keys"
    for group in LOGGING:
        yield from _logged(group, held.get(group))
    job = held.get("job")
    if isinstance(job, dict) and cast("dict[str, Any]", job).get("env_set"):
        yield "hydra.job.env_set is refused: set environment variables in the shell"


def _logged(group: str, value: object) -> Iterator[str]:
    """What logging would call or import."""
    if not isinstance(value, dict):
        return
    held = cast("dict[str, Any]", value)
    for key in CALLED:
        if held.get(key):
            yield f"hydra.{group}.{key} is refused: nothing is logged through Hydra here"
    for place, own in leaves({k: v for k, v in held.items() if k not in CALLED}):
        if "://" in str(own):
            yield f"hydra.{group}.{place}={str(own)[:80]} is refused: it names code"
