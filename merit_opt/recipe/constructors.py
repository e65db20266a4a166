"""The recipes that controls are made of."""

import random
from collections.abc import Mapping

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import lerp


def base(n_layers: int) -> Recipe:
    """The VLM as it is."""
    return Recipe((LayerMerge(),) * n_layers)


def backbone(n_layers: int) -> Recipe:
    """Every part of every decoder layer from the backbone."""
    return full(n_layers, 1.0)


def uniform(n_layers: int, coefficient: float) -> Recipe:
    """Self-attention of every layer at one coefficient."""
    return attention(n_layers, dict.fromkeys(range(n_layers), coefficient))


def full(n_layers: int, coefficient: float) -> Recipe:
    """Every part of every layer at one coefficient: the papers' full-model merge."""
    rule = lerp(coefficient)
    return Recipe((LayerMerge(attention=rule, mlp=rule, norm=rule),) * n_layers)


def attention(n_layers: int, coefficients: Mapping[int, float]) -> Recipe:
    """Self-attention at a coefficient per layer; layers not named keep the VLM's."""
    outside = sorted(layer for layer in coefficients if not 0 <= layer < n_layers)
    if outside:
        raise UserError(f"layers run from 0 to {n_layers - 1}; got {outside}")
    return Recipe(tuple(LayerMerge(lerp(coefficients.get(i, 0.0))) for i in range(n_layers)))


def random_layers(recipe: Recipe, rng: random.Random) -> Recipe:
    """The attention coefficients of `recipe` dealt to the layers anew, at random.

    They fall on another set of as many layers; where `recipe` merges every layer, on the same set
    in another order.

    Raises:
        UserError: All layers have one coefficient, so that there is no other deal.
    """
    n_layers = len(recipe.layers)
    own = recipe.coefficients()
    dealt = [own.get(layer, 0.0) for layer in range(n_layers)]
    if len(set(dealt)) == 1:
        raise UserError(f"all {n_layers} layers have one coefficient: there is no other deal")
    is_full = len(own) == n_layers
    while True:
        values = rng.sample(dealt, n_layers)
        layers = {i for i, value in enumerate(values) if value}
        if (values != dealt) if is_full else (layers != own.keys()):
            return attention(n_layers, dict(enumerate(values)))
