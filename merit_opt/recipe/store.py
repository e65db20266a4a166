"""Recipes on disk, and the names that stand for recipes."""

from collections.abc import Sequence
from pathlib import Path

from merit_opt.errors import UserError
from merit_opt.files import write_text
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Part, Recipe, from_json, to_json
from merit_opt.recipe.rules import RULES, field_names, lerp, number, rule_from

RECIPE_FILE = "recipe.json"
FORMS = {
    "uniform": "uniform:C[:RULE]",
    "full": "full:C[:RULE]",
    "layer_swap": "layer_swap:FIRST:C[:RULE]",
}
_RULE_FORMS = ", ".join(
    ":".join((name, *map(str.upper, field_names(kind)[1:]))) for name, kind in RULES.items()
)
NAMES = (
    f"base, backbone, {', '.join(FORMS.values())} (C in [0, 1], FIRST a layer, RULE one of "
    f"{_RULE_FORMS}) or a path to a {RECIPE_FILE} or to a folder that holds one"
)


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write canonical JSON and a newline.

    Raises:
        UserError: The folder cannot be written.
    """
    write_text(path, to_json(recipe) + "\n")


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file, or in the recipe.json of a folder: an export or a delta.

    Raises:
        UserError: There is no such file, or it holds no recipe.
    """
    path = path / RECIPE_FILE if path.is_dir() else path
    try:
        return from_json(path.read_text())
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
    form, *words = name.split(":")
    match form, words:
        case "base", []:
            return constructors.base(n_layers)
        case "backbone", []:
            return constructors.backbone(n_layers, parts=parts)
        case _ if form in FORMS and words:
            try:
                return _formed(form, words, n_layers, parts)
            except UserError as error:
                raise UserError(f"recipe={name}: {error}; expected {FORMS[form]}") from None
        case _ if Path(name).exists():
            return read_recipe(Path(name))
        case _:
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
