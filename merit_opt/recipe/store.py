"""Recipes on disk, and the names that stand for recipes."""

from pathlib import Path

from merit_opt.errors import UserError
from merit_opt.files import write_text
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe, from_json, to_json

NAMES = "base, backbone, uniform:C, full:C (C in [0, 1]) or a path to a recipe.json"


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write canonical JSON and a newline.

    Raises:
        UserError: The folder cannot be written.
    """
    write_text(path, to_json(recipe) + "\n")


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file.

    Raises:
        UserError: There is no such file, or it holds no recipe.
    """
    try:
        return from_json(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (UserError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from None


def named_recipe(name: str, n_layers: int) -> Recipe:
    """The recipe that `name` stands for.

    Raises:
        UserError: The name is neither one of the known forms nor a file.
    """
    match name.partition(":"):
        case ("base", "", ""):
            return constructors.base(n_layers)
        case ("backbone", "", ""):
            return constructors.backbone(n_layers)
        case ("uniform", ":", value):
            return constructors.uniform(n_layers, _coefficient(name, value))
        case ("full", ":", value):
            return constructors.full(n_layers, _coefficient(name, value))
        case _ if Path(name).is_file():
            return read_recipe(Path(name))
        case _:
            raise UserError(f"recipe={name} is no file and no known name; expected {NAMES}")


def _coefficient(name: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise UserError(
            f"recipe={name}: expected a number after the colon, got {value!r}"
        ) from None
