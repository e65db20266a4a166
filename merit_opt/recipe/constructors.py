"""The recipes that controls are made of.

Where one takes a coefficient it takes a rule for it too, linear interpolation unless told.
"""

import random
from collections.abc import Mapping, Sequence

from merit_opt.errors import UserError
from merit_opt.recipe.recipe import PARTS, LayerMerge, Part, Recipe
from merit_opt.recipe.rules import RuleAt, lerp


def base(n_layers: int) -> Recipe:
    """The VLM as it is."""
    return Recipe((LayerMerge(),) * n_layers)


def backbone(n_layers: int, *, parts: Sequence[Part] = PARTS) -> Recipe:
    """These parts of every decoder layer from the backbone."""
    return full(n_layers, 1.0, parts=parts)


def uniform(n_layers: int, coefficient: float, rule: RuleAt = lerp) -> Recipe:
    """Self-attention of every layer at one coefficient."""
    return attention(n_layers, dict.fromkeys(range(n_layers), coefficient), rule)


def full(
    n_layers: int, coefficient: float, rule: RuleAt = lerp, *, parts: Sequence[Part] = PARTS
) -> Recipe:
    """These parts of every layer at one coefficient: the papers' full-model merge."""
    return layer_swap(n_layers, 0, coefficient, rule, parts=parts)


def layer_swap(
    n_layers: int,
    first: int,
    coefficient: float,
    rule: RuleAt = lerp,
    *,
    parts: Sequence[Part] = PARTS,
) -> Recipe:
    """Layers below `first` as the VLM has them, these parts of all others at one coefficient.

    The "layerswap" of the code of *Bring Reason to Vision*, with `first` one above its
    base_layer_num: nothing is swapped, the merge just begins at a layer.

    Raises:
        UserError: There is no such layer.
    """
    if not 0 <= first < n_layers:
        raise UserError(f"layers run from 0 to {n_layers - 1}; got {first} for the first merged")
    chosen = rule(coefficient)
    merged = LayerMerge(**dict.fromkeys(parts, chosen))
    return Recipe((LayerMerge(),) * first + (merged,) * (n_layers - first))


def attention(n_layers: int, coefficients: Mapping[int, float], rule: RuleAt = lerp) -> Recipe:
    """Self-attention at a coefficient per layer; layers not named keep the VLM's."""
    return per_layer(n_layers, coefficients, rule, parts=("attention",))


def per_layer(
    n_layers: int,
    coefficients: Mapping[int, float],
    rule: RuleAt = lerp,
    *,
    parts: Sequence[Part] = PARTS,
) -> Recipe:
    """These parts at a coefficient per layer; layers not named keep the VLM's.

    Raises:
        UserError: There is no such layer.
    """
    outside = sorted(layer for layer in coefficients if not 0 <= layer < n_layers)
    if outside:
        raise UserError(f"layers run from 0 to {n_layers - 1}; got {outside}")
    rules = [rule(coefficients.get(i, 0.0)) for i in range(n_layers)]
    return Recipe(tuple(LayerMerge(**dict.fromkeys(parts, chosen)) for chosen in rules))


def random_layers(recipe: Recipe, rng: random.Random) -> Recipe:
    """What `recipe` says of each layer, dealt to the layers anew, at random.

    It falls on another set of as many layers; where `recipe` merges every layer, on the same set
    in another order.

    Raises:
        UserError: All layers have one rule, so that there is no other deal.
    """
    dealt = recipe.layers
    if len(set(dealt)) == 1:
        raise UserError(f"all {len(dealt)} layers have one rule: there is no other deal")
    is_full = all(layer.is_merged for layer in dealt)
    while True:
        other = Recipe(tuple(rng.sample(dealt, len(dealt))))
        if (other != recipe) if is_full else (other.merged_layers != recipe.merged_layers):
            return other
