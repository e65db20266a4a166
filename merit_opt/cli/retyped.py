"""A study's stored configuration as a command that composes it again."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.cli.guard import TARGET
from merit_opt.errors import UserError

PLAIN = re.compile(r"[\w./:+@%~-]+")
Values = Mapping[str, Any]


def command(config: Values, *groups: str) -> str:
    """What to type after `merit-opt search`: a space and what differs from the defaults.

    Args:
        config: Of config.yaml, not resolved.
        groups: Groups and keys that are told; all of them if none is named.

    Raises:
        UserError: One of them is made by what no option of this version makes.
    """
    root = _content(conf_dir() / "search.yaml")
    defaults = {
        str(k): str(v)
        for item in root["defaults"]
        if isinstance(item, dict)
        for k, v in item.items()
    }
    wanted = groups or tuple(config)
    words = [
        word
        for key in wanted
        if key in config
        for word in _words(key, config[key], root.get(key), defaults)
    ]
    return "".join(f" {shlex.quote(word)}" for word in words)


def changed(group: str, name: str, values: Values) -> tuple[str, ...]:
    """What differs from an option's own values; nothing of an option that this version lacks."""
    path = conf_dir() / group / f"{name}.yaml"
    return tuple(_changes(group, values, _option(path))) if path.is_file() else ()


def _words(key: str, value: Any, usual: Any, defaults: Mapping[str, str]) -> Iterator[str]:
    if isinstance(value, dict) and TARGET in value:
        option, known = _nearest(key, value, defaults.get(key, ""))
        if option != defaults.get(key):
            yield f"{key}={option}"
        yield from _changes(key, {**value, TARGET: known[TARGET]}, known)
    elif isinstance(value, dict):
        yield from _changes(key, value, usual or {})
    elif value != usual:
        yield f"{key}={_written(value)}"


def _nearest(group: str, value: Values, usual: str) -> tuple[str, Values]:
    """The option that differs least; of equals the default, then the first by name.

    An option may have moved to another module: where none has the very target, its last name counts.

    Raises:
        UserError: None has it.
    """
    options = {
        path.stem: _option(path)
        for path in sorted((conf_dir() / group).glob("*.yaml"))
        if not path.stem.startswith("_")
    }
    targets = {name: str(option.get(TARGET, "")) for name, option in options.items()}
    same = {n: options[n] for n, target in targets.items() if target == str(value[TARGET])}
    fitting = same or {
        n: options[n]
        for n, target in targets.items()
        if _last(target) == _last(str(value[TARGET]))
    }
    if not fitting:
        raise UserError(
            f"its {group} is {value[TARGET]}, which no option of this version makes; give the command "
            "with the version that made the study"
        )

    def differing(name: str) -> tuple[int, bool]:
        return len(list(_changes(group, value, fitting[name]))), name != usual

    name = min(fitting, key=differing)
    return name, fitting[name]


def _last(target: str) -> str:
    return target.rpartition(".")[2]


def _changes(prefix: str, value: Values, usual: Values) -> Iterator[str]:
    for key, own in value.items():
        known = usual.get(key)
        if isinstance(own, dict) and isinstance(known, dict):
            yield from _changes(f"{prefix}.{key}", own, known)
        elif own != known:
            yield f"{prefix}.{key}={_written(own)}"


def _written(value: Any) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, str) and PLAIN.fullmatch(value):
        return value
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{k}:{_written(v)}' for k, v in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)


def _option(path: Path) -> dict[str, Any]:
    """What an option gives, with what it shares with its siblings."""
    own = dict(_content(path))
    shared = [str(name) for name in own.pop("defaults", []) if name != "_self_"]
    inherited = (_option(path.with_name(f"{name}.yaml")) for name in shared)
    return {key: value for one in (*inherited, own) for key, value in one.items()}


@cache
def _content(path: Path) -> dict[str, Any]:
    loaded = OmegaConf.load(path)
    return OmegaConf.to_container(loaded) if isinstance(loaded, DictConfig) else {}  # type: ignore[return-value]
