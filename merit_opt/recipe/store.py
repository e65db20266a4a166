"""Recipes on disk, and the names that stand for recipes."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from merit_opt.errors import UserError
from merit_opt.files import write_text
from merit_opt.recipe import constructors
from merit_opt.recipe.origin import Origin, origin_from
from merit_opt.recipe.recipe import Part, Recipe, from_json, to_json
from merit_opt.recipe.rules import RULES, field_names, lerp, number, rule_from

T = TypeVar("T")

RECIPE_FILE = "recipe.json"
WHOLE = ("base", "backbone")
FORMS = {
    "uniform": "uniform:C[:RULE]",
    "full": "full:C[:RULE]",
    "layer_swap": "layer_swap:FIRST:C[:RULE]",
}
_RULE_FORMS = ", ".join(
    ":".join((name, *map(str.upper, field_names(kind)[1:]))) for name, kind in RULES.items()
)
NAMES = (
    f"{', '.join((*WHOLE, *FORMS.values()))} (C in [0, 1], FIRST a layer, RULE one of "
    f"{_RULE_FORMS}) or a path to a {RECIPE_FILE} or to a folder that holds one"
)


def recipe_text(recipe: Recipe, origin: Origin | None = None) -> str:
    """What a recipe's file holds: canonical JSON and a newline.

    Args:
        recipe: The recipe.
        origin: The pair that it was found on, which is no part of its digest; None tells none.
    """
    value = json.loads(to_json(recipe))
    if origin is not None:
        value["pair"] = origin.of(recipe).to_dict()
    return json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n"


def write_recipe(path: Path, recipe: Recipe, origin: Origin | None = None) -> None:
    """Write what `recipe_text` makes.

    Raises:
        UserError: The folder cannot be written.
    """
    write_text(path, recipe_text(recipe, origin))


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file, or in the recipe.json of a folder: an export or a delta.

    Raises:
        UserError: There is no such file, or it holds no recipe.
    """
    return _read(path, from_json)


def read_origin(path: Path) -> Origin | None:
    """The pair that the recipe of a file was found on, where the file tells it.

    Raises:
        UserError: There is no such file, or it does not hold what it should.
    """
    return _read(path, _origin)


def _origin(text: str) -> Origin | None:
    from_json(text)  # which says what is wrong with a file that is no recipe's
    return origin_from(json.loads(text).get("pair"))


def _read(path: Path, parse: Callable[[str], T]) -> T:
    path = path / RECIPE_FILE if path.is_dir() else path
    try:
        return parse(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (UserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from None


def named_recipe(name: str, n_layers: int, *, parts: Sequence[Part]) -> Recipe:
    """The recipe that `name` stands for.

    Args:
        name: One of `NAMES`.
        n_layers: Decoder layers of the pair.
        parts: What `backbone`, `full` and `layer_swap` merge of a layer.

    Raises:
        UserError: The name is neither one of the known forms nor a file.
    """
    match form_or_file(name):
        case Path() as path:
            return read_recipe(path)
        case Form("base"):
            return constructors.base(n_layers)
        case Form("backbone"):
            return constructors.backbone(n_layers, parts=parts)
        case Form(form, words):
            try:
                return _formed(form, list(words), n_layers, parts)
            except UserError as error:
                raise UserError(f"recipe={name}: {error}; expected {FORMS[form]}") from None


@dataclass(frozen=True, slots=True)
class Form:
    """A name that is one of the known forms.

    Attributes:
        name: One of `WHOLE` or of `FORMS`.
        words: What stands after it, between colons, not looked at yet.
    """

    name: str
    words: tuple[str, ...] = ()


def form_or_file(name: str) -> Form | Path:
    """What a name is: a known form, or else a file or folder that is there.

    Raises:
        UserError: It is neither.
    """
    form, *words = name.split(":")
    if name in WHOLE or (form in FORMS and words):
        return Form(form, tuple(words))
    if (path := Path(name)).exists():
        return path
    raise UserError(f"recipe={name} is no file and no known name; expected {NAMES}")


def _formed(form: str, words: list[str], n_layers: int, parts: Sequence[Part]) -> Recipe:
    first = _layer(words.pop(0)) if form == "layer_swap" else 0
    if not words:
        raise UserError("a coefficient is missing")
    coefficient, rule = number(words[0]), rule_from(":".join(words[1:])) if words[1:] else lerp
    if form == "uniform":
        return constructors.uniform(n_layers, coefficient, rule)
    return constructors.layer_swap(n_layers, first, coefficient, rule, parts=parts)


def _layer(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise UserError(f"expected the number of a layer after the colon, got {word!r}") from None
