"""Option files to objects: the only place that follows a `_target_`."""

import importlib
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from omegaconf import DictConfig, OmegaConf

from merit_opt.cli.guard import TARGET, why_refused
from merit_opt.errors import UserError
from merit_opt.models.source import FolderOrId
from merit_opt.search.spaces.limits import LayerSpan


@dataclass(frozen=True)
class Factory:
    """One option file, checked against the factory it names, not called yet.

    Attributes:
        group: The configuration group.
        call: The factory.
        arguments: What the option file gives it, converted to the types it asks for.
    """

    group: str
    call: Callable[..., Any]
    arguments: Mapping[str, Any]

    def build(self, **injected: Any) -> Any:
        """Call the factory with what only the program knows."""
        return self.call(**self.arguments, **injected)


def factories(
    cfg: DictConfig, own_keys: Mapping[str, Mapping[str, type]], **injected: set[str]
) -> dict[str, Factory]:
    """Every group of `cfg` that names a factory, checked; all problems are told at once.

    Args:
        cfg: The composed configuration.
        own_keys: Group -> type of each key in it that is not the factory's.
        injected: Group -> arguments that the program gives itself.

    Raises:
        UserError: A key is unknown or missing, or a value has the wrong type.
    """
    found: dict[str, Factory] = {}
    problems: list[str] = []
    for group in (str(key) for key in cfg):
        node = cfg[group]
        if not isinstance(node, DictConfig) or TARGET not in node:
            continue
        values: dict[str, Any] = OmegaConf.to_container(node, resolve=True)  # type: ignore[assignment]
        call = _resolve(group, values.pop(TARGET))
        kinds = own_keys.get(group, {})
        own = {k: values.pop(k) for k in kinds if k in values}
        arguments, wrong = _bind(group, call, values, injected.get(group, set()), kinds)
        problems += [*wrong, *_wrong_types(group, own, kinds)]
        found[group] = Factory(group, call, arguments)
    if problems:
        raise UserError("\n  ".join(["the configuration does not fit:", *problems]))
    return found


def _resolve(group: str, target: str) -> Callable[..., Any]:
    if why := why_refused(group, target):
        raise UserError(why)
    module, _, name = target.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"_target_ {target} cannot be found: {error}") from None


def _bind(
    group: str,
    call: Callable[..., Any],
    values: Mapping[str, Any],
    injected: set[str],
    own: Iterable[str],
) -> tuple[dict[str, Any], list[str]]:
    hints = _hints(call)
    parameters = inspect.signature(call).parameters
    wanted = [name for name in parameters if name not in injected]
    problems: list[str] = []
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in wanted:
            near = get_close_matches(name, [*wanted, *own], n=1, cutoff=0.0)
            problems.append(
                f"{group}.{name} is not known"
                + (f"; did you mean {group}.{near[0]}?" if near else "")
            )
            continue
        try:
            arguments[name] = convert(value, hints[name])
        except ValueError as error:
            problems.append(f"{group}.{name}: {error}")
    required = (n for n in wanted if parameters[n].default is inspect.Parameter.empty)
    problems += [f"{group}.{name} must be given" for name in required if name not in values]
    return arguments, problems


def _wrong_types(
    group: str, values: Mapping[str, Any], wanted: Mapping[str, type]
) -> Iterator[str]:
    for name, value in values.items():
        try:
            convert(value, wanted[name])
        except ValueError as error:
            yield f"{group}.{name}: {error}"


def _hints(call: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(call.__init__ if inspect.isclass(call) else call)


def convert(value: Any, wanted: Any) -> Any:
    """`value` as the annotated type `wanted`: the few types that option files hold.

    Raises:
        ValueError: It is of another type; the message says which was expected.
    """
    origin, members = get_origin(wanted), get_args(wanted)
    if origin in (Union, types.UnionType):
        (member,) = (m for m in members if m is not type(None))
        return None if value is None else convert(value, member)
    if origin is Literal:
        _require(value in members, value, f"one of {', '.join(members)}")
        return value
    if origin is tuple:
        _require(isinstance(value, list), value, "a list")
        return tuple(convert(item, members[0]) for item in value)
    if origin is Mapping:
        _require(isinstance(value, dict), value, "keys with values")
        return {convert(k, members[0]): convert(v, members[1]) for k, v in value.items()}
    if wanted is bool:
        _require(isinstance(value, bool), value, "true or false")
        return value
    expected, given, make = _SCALARS[wanted]
    _require(isinstance(value, given) and not isinstance(value, bool), value, expected)
    return make(value)


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser()
    except RuntimeError:  # it has no home of such a user
        raise ValueError(f"expected a path, got {text!r}: there is no such user") from None


def _folder_or_id(text: str) -> FolderOrId:
    return FolderOrId(str(_path(text)) if text.startswith("~") else text)


def _layer_span(value: int | str) -> LayerSpan:
    match = re.fullmatch(r"(\d+)(?:\.\.(\d+))?", str(value))
    if match is None or int(match[1]) > int(match[2] or match[1]):
        raise ValueError(f"expected {_SPAN}, got {value!r}")
    return LayerSpan(range(int(match[1]), int(match[2] or match[1]) + 1))


_SPAN = "a layer such as 3 or, the lower first, layers such as 8..27"
_SCALARS: dict[Any, tuple[str, Any, Callable[[Any], Any]]] = {
    str: ("a text", str, str),
    Path: ("a path", str, _path),
    FolderOrId: ("a folder or a repository's id", str, _folder_or_id),
    LayerSpan: (_SPAN, int | str, _layer_span),
    int: ("a whole number", int, int),
    float: ("a number", int | float, float),
}


def _require(holds: object, value: Any, expected: str) -> None:
    if not holds:
        raise ValueError(f"expected {expected}, got {value!r}")
