"""Recipes that differ from another in one layer."""

from collections.abc import Sequence
from dataclasses import replace

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import LayerMerge, Part, Recipe
from merit_opt.recipe.rules import lerp


def require_coefficients(key: str, coefficients: Sequence[float]) -> None:
    """Coefficients that merge something.

    Raises:
        UserError: There are none, or one lies outside (0, 1].
    """
    if not coefficients or not all(0.0 < c <= 1.0 for c in coefficients):
        raise UserError(f"{key} lie above 0 and at most at 1, got {list(coefficients)}")


def with_layer(recipe: Recipe, layer: int, parts: Sequence[Part], coefficient: float) -> Recipe:
    """The recipe with these parts of one layer interpolated at a coefficient."""
    own = replace(recipe.layers[layer], **dict.fromkeys(parts, lerp(coefficient)))
    return with_own(recipe, layer, own)


def with_own(recipe: Recipe, layer: int, own: LayerMerge) -> Recipe:
    """The recipe with another merge of one layer."""
    layers = list(recipe.layers)
    layers[layer] = own
    return Recipe(tuple(layers))
