"""Which models a recipe was found on, as its file says it."""

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import Recipe

FORM = '{"vlm": {"name": ..., "digest": ...}, "backbone": {...}}'


@dataclass(frozen=True, slots=True)
class Named:
    """A model.

    Attributes:
        name: A repository's id, or a folder's own name; for people.
        digest: Identity of its files.
    """

    name: str
    digest: str

    def __str__(self) -> str:
        return f"{self.name} ({self.digest})"


@dataclass(frozen=True, slots=True)
class Origin:
    """The models of a pair. The dtype they are computed in is no part of it.

    Attributes:
        vlm: The VLM.
        backbone: Its backbone.
        base: Their ancestor, where the recipe needs it.
    """

    vlm: Named
    backbone: Named
    base: Named | None = None

    def of(self, recipe: Recipe) -> "Origin":
        """As the recipe's file has it: with the base only where the recipe needs it."""
        return self if recipe.needs_base else replace(self, base=None)

    def is_same(self, other: "Origin") -> bool:
        """Whether all models that both tell are the same."""
        pairs = zip(self._models(), other._models(), strict=True)
        return all(not one or not two or one.digest == two.digest for one, two in pairs)

    def __str__(self) -> str:
        base = "" if self.base is None else f" and base {self.base}"
        return f"VLM {self.vlm} with backbone {self.backbone}{base}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: model for name, model in asdict(self).items() if model is not None}

    def _models(self) -> Iterator[Named | None]:
        yield from (self.vlm, self.backbone, self.base)


def origin_from(value: object) -> Origin | None:
    """What `Origin.to_dict` made; None of nothing.

    Raises:
        UserError: It is something else.
    """
    if value is None:
        return None
    try:
        models = {name: _named(one) for name, one in _mapping(value).items()}
        return Origin(**models)
    except TypeError:
        got = reprlib.repr(value)
        raise UserError(f'a recipe\'s "pair" is {FORM}, or is left out; got {got}') from None


def _named(value: object) -> Named:
    match value:
        case {"name": str() as name, "digest": str() as digest}:
            return Named(name, digest)
        case _:
            raise TypeError(value)


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(value)
    return value
