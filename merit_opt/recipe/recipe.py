"""What to merge, layer by layer: the subject of the whole project, as a value."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from reprlib import Repr
from typing import Literal, cast, get_args

from merit_opt.errors import UserError
from merit_opt.recipe.rules import Rule, make_rule, needs_base, rule_name

Part = Literal["attention", "mlp", "norm"]
PARTS: tuple[Part, ...] = get_args(Part)
SCHEMA = 1
MOST_LAYERS = 10_000

_short = Repr()
_short.maxstring = _short.maxother = 60


@dataclass(frozen=True, slots=True)
class LayerMerge:
    """The rule of each part of one decoder layer; None keeps the VLM's weights."""

    attention: Rule | None = None
    mlp: Rule | None = None
    norm: Rule | None = None

    def rule(self, part: Part) -> Rule | None:
        """The rule of `part`."""
        rules: dict[Part, Rule | None] = {
            "attention": self.attention,
            "mlp": self.mlp,
            "norm": self.norm,
        }
        return rules[part]

    @property
    def is_merged(self) -> bool:
        """Whether any part takes something from the backbone."""
        return any(self.rule(part) is not None for part in PARTS)


@dataclass(frozen=True, slots=True)
class Recipe:
    """For every decoder layer, which parts are merged and how.

    Attributes:
        layers: Index = decoder layer, 0 nearest the embeddings.
    """

    layers: tuple[LayerMerge, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise UserError("a recipe needs at least one layer, got none")

    @property
    def digest(self) -> str:
        """12 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(to_json(self).encode()).hexdigest()[:12]

    @property
    def merged_layers(self) -> tuple[int, ...]:
        """Indices of the layers that take anything from the backbone."""
        return tuple(i for i, layer in enumerate(self.layers) if layer.is_merged)

    @property
    def needs_base(self) -> bool:
        """Whether any rule asks for the base model that VLM and backbone grew from."""
        rules = (layer.rule(part) for layer in self.layers for part in PARTS)
        return any(needs_base(rule) for rule in rules if rule is not None)

    def coefficients(self, part: Part = "attention") -> dict[int, float]:
        """Layer -> coefficient of `part`; layers that keep the VLM's weights are left out."""
        rules = ((i, layer.rule(part)) for i, layer in enumerate(self.layers))
        return {i: rule.coefficient for i, rule in rules if rule is not None}


def to_json(recipe: Recipe) -> str:
    """Canonical JSON: sorted keys, no spaces, only merged layers and parts written."""
    layers = {
        str(i): {
            part: {"rule": rule_name(type(rule)), **asdict(rule)}
            for part in PARTS
            if (rule := layer.rule(part)) is not None
        }
        for i, layer in enumerate(recipe.layers)
        if layer.is_merged
    }
    value = {"schema": SCHEMA, "n_layers": len(recipe.layers), "layers": layers}
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def from_json(text: str) -> Recipe:
    """The recipe that `to_json` wrote.

    Raises:
        UserError: The text is not a recipe of this schema; the message names the place.
    """
    value = _loaded(text)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise UserError(f'a recipe has "schema": {SCHEMA} at its top; got {text[:60]!r}')
    n_layers, layers = value.get("n_layers"), value.get("layers")
    if type(n_layers) is not int or not isinstance(layers, dict):
        raise UserError('a recipe has an integer "n_layers" and an object "layers"')
    if n_layers > MOST_LAYERS:
        raise UserError(f"a recipe has at most {MOST_LAYERS} layers, got {_short.repr(n_layers)}")
    outside = sorted(layers.keys() - {str(i) for i in range(n_layers)})
    if outside:
        raise UserError(f"recipe layers run from 0 to {n_layers - 1}; got {_short.repr(outside)}")
    return Recipe(tuple(_layer(str(i), layers.get(str(i), {})) for i in range(n_layers)))


def _loaded(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"a recipe is JSON, but line {error.lineno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:  # an endless number, or nesting without end
        raise UserError(f"a recipe is JSON, but cannot be read: {error}") from None


def _layer(name: str, parts: object) -> LayerMerge:
    if not isinstance(parts, dict):
        raise UserError(
            f"recipe layer {name}: expected an object of parts, got {_short.repr(parts)}"
        )
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise UserError(f"recipe layer {name}: parts are {PARTS}, got {_short.repr(unknown)}")
    return LayerMerge(**{part: _rule(name, part, value) for part, value in parts.items()})


def _rule(layer: str, part: str, value: object) -> Rule:
    place = f"recipe layer {layer} {part}"
    if not isinstance(value, dict) or not isinstance(value.get("rule"), str):
        raise UserError(
            f'{place}: expected an object such as {{"rule": "lerp", "coefficient": 0.5}}, '
            f"got {_short.repr(value)}"
        )
    numbers = dict(cast(Mapping[str, object], value))
    try:
        return make_rule(str(numbers.pop("rule")), numbers)
    except UserError as error:
        raise UserError(f"{place}: {error}") from None
