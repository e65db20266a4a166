"""What a user is told whose configuration does not compose: one sentence, with the right name."""

import re
import shlex
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from merit_opt.cli import conf_dir
from merit_opt.cli.schema import SCHEMAS


def sentence(verb: str, arguments: Iterable[str], error: Exception) -> str:
    """The reason, and the nearest right name where one is near."""
    if misplaced := next(_misplaced(verb, arguments), None):
        return misplaced
    if isinstance(error, YAMLError):
        return f"an option file is no YAML: {' '.join(str(error).split())}"
    if isinstance(error, OverrideParseException) and "=" in error.override:
        return _unread(error.override)
    if isinstance(error, MissingConfigException) and error.options:
        return _no_option(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"cannot make the folder {error.filename}: {error.strerror}; choose output_dir="
    reason = str(error).strip()
    told = [line.strip() for line in reason.splitlines() if "To append to your" not in line][:2]
    told = told or [type(error).__name__]
    if reason.startswith("Error merging override") and error.__cause__ is not None:
        told += str(error.__cause__).splitlines()[:1]
    words = list(arguments)
    hints = (hint for word in words if (hint := _hint(verb, word, reason, _chosen(verb, words))))
    return " ".join([told[0].rstrip(".") + (":" if told[1:] else "."), *told[1:], *hints])


def strangers(cfg: DictConfig, schema: type, prefix: str = "") -> Iterator[str]:
    """Keys that `+KEY=VALUE` let in beside those of the schema."""
    known = {field.name: field.type for field in fields(schema)}
    for name in map(str, cfg):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {prefix}{near[0]}=?" if near else ""
            yield f"{prefix}{name} is not known{hint}"
        elif isinstance(kind := known[name], type) and is_dataclass(kind):
            yield from strangers(cfg[name], kind, f"{prefix}{name}.")


def _misplaced(verb: str, arguments: Iterable[str]) -> Iterator[str]:
    """Of an experiment that sets what the verb does not have: what, and the verb that has it."""
    for name in (n for a in arguments if a.startswith("experiment=") for n in a[11:].split(",")):
        path = conf_dir() / "experiment" / f"{name}.yaml"
        wanted = _set_by(path) if path.is_file() else set[str]()
        if lacking := wanted - _own_keys(verb):
            fitting = [f"merit-opt {v}" for v in SCHEMAS if wanted <= _own_keys(v)]
            yield (
                f"experiment={name} sets {', '.join(sorted(lacking))}, which merit-opt {verb} does "
                f"not have; it is one for {' or '.join(fitting)}"
            )


def _set_by(experiment: Path) -> set[str]:
    """Groups and keys that an experiment sets."""
    content: Any = OmegaConf.load(experiment)
    groups = {str(group) for item in content.get("defaults", []) for group in item}
    keys = {str(key) for key in content} - {"defaults"}
    return keys | {group.removeprefix("override /") for group in groups}


def _own_keys(verb: str) -> set[str]:
    return {field.name for field in fields(SCHEMAS[verb])}


def _unread(override: str) -> str:
    key, _, value = override.partition("=")
    quoted = shlex.quote(f'{key}="{value}"')
    return (
        f"{override} cannot be read: quote it, for the shell and for the value ({quoted}); a path "
        "may also be absolute"
    )


def _no_option(error: MissingConfigException) -> str:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    options = list(error.options or ())
    near = get_close_matches(name, options, n=1, cutoff=0.0)[0]
    return f"there is no {group}={name}; did you mean {group}={near}? ({', '.join(options)})"


def _hint(verb: str, argument: str, reason: str, chosen: Mapping[str, Collection[str]]) -> str:
    """The nearest key, and whose it is where the options that were chosen have none such."""
    key = re.split(r"[=@]", argument.lstrip("+~"), maxsplit=1)[0]
    if key not in reason:
        return ""
    known = _known_keys(verb)
    near = next(iter(get_close_matches(key, known, n=1)), key)
    options, group = known.get(near, set[str]()), near.partition(".")[0]
    if options.isdisjoint(chosen[group]) and options:
        owners = ", ".join(f"{group}={option}" for option in sorted(options))
        return f"There is {near}= with {owners}."
    return f"Did you mean {near}=?" if near != key else ""


def _chosen(verb: str, arguments: Iterable[str]) -> Mapping[str, Collection[str]]:
    """Group -> its options: the verb's own, an experiment's, or those that the user names."""
    found = _defaults(conf_dir() / f"{verb}.yaml")
    given = [argument.partition("=") for argument in arguments]
    for name in (n for key, _, names in given if key == "experiment" for n in names.split(",")):
        path = conf_dir() / "experiment" / f"{name}.yaml"
        found |= _defaults(path) if path.is_file() else {}
    return defaultdict(tuple, found | {key: option.split(",") for key, _, option in given})


def _defaults(path: Path) -> dict[str, Collection[str]]:
    """Group -> option, of those that a file chooses."""
    content: Any = OmegaConf.load(path)
    chosen = (item for item in content.get("defaults", []) if isinstance(item, DictConfig))
    pairs = (pair for item in chosen for pair in item.items())
    return {str(group).removeprefix("override /"): (str(option),) for group, option in pairs}


def _known_keys(verb: str) -> dict[str, set[str]]:
    """Every key and group that the verb's own file and the option files spell out.

    Of a key of options, which options have it.
    """
    path = conf_dir() / f"{verb}.yaml"
    groups = _defaults(path)
    found = {key: set[str]() for key in (*_keys(_plain(path)), *groups)}
    for option in (path for group in groups for path in (conf_dir() / group).glob("*.yaml")):
        for key in _keys(_plain(option), f"{option.parent.name}."):
            found.setdefault(key, set()).add(option.stem)
    return found


def _plain(path: Path) -> object:
    return OmegaConf.to_container(OmegaConf.load(path))


def _keys(node: object, prefix: str = "") -> Iterator[str]:
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        if name not in ("hydra", "defaults", "_target_"):
            yield f"{prefix}{name}"
            yield from _keys(value, f"{prefix}{name}.")
