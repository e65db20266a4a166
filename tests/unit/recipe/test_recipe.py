import json
import random
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import attention, base
from merit_opt.recipe.recipe import PARTS, LayerMerge, Recipe, from_json, to_json
from merit_opt.recipe.rules import Lerp, lerp

coefficients = st.floats(0.0, 1.0, exclude_min=True)
rules = st.none() | st.builds(Lerp, coefficients)
recipes = st.lists(st.builds(LayerMerge, rules, rules, rules), min_size=1, max_size=6).map(
    lambda layers: Recipe(tuple(layers))
)
WRITTEN = Recipe(
    (
        LayerMerge(),
        LayerMerge(attention=Lerp(1.0)),
        LayerMerge(mlp=Lerp(0.1), norm=Lerp(5e-324)),
        LayerMerge(Lerp(0.1 + 0.2), Lerp(0.5), Lerp(1 / 3)),
        *(LayerMerge(),) * 6,
        LayerMerge(norm=Lerp(1)),
    )
)


def recipe_text(layers: object, n_layers: object = 9) -> str:
    return json.dumps({"schema": 1, "n_layers": n_layers, "layers": layers})


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 1.0)), min_size=1, max_size=12))
def test_a_masked_layer_and_a_coefficient_of_zero_are_one_recipe(genes):
    n_layers = len(genes)
    by_mask = attention(n_layers, {i: c for i, (mask, c) in enumerate(genes) if mask})
    by_product = attention(n_layers, {i: mask * c for i, (mask, c) in enumerate(genes)})
    assert by_mask == by_product
    assert by_mask.digest == by_product.digest
    assert by_mask.merged_layers == tuple(i for i, (mask, c) in enumerate(genes) if mask and c)


@pytest.mark.parametrize("zero", [0, 0.0, -0.0])
def test_every_zero_keeps_the_vlm(zero):
    assert lerp(zero) is None
    assert attention(3, {1: zero}).digest == base(3).digest


@given(recipes)
def test_json_gives_the_same_recipe_back(recipe):
    again = from_json(to_json(recipe))
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert to_json(again) == to_json(recipe)


@given(recipes, st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_construction(recipe, rng):
    def shuffled(pairs: dict[str, object]) -> dict[str, object]:
        return dict(rng.sample(sorted(pairs.items()), len(pairs)))

    value = json.loads(to_json(recipe))
    value["layers"] = shuffled({i: shuffled(parts) for i, parts in value["layers"].items()})
    again = from_json(json.dumps(shuffled(value), indent=3))
    assert again.digest == recipe.digest
    assert to_json(again) == to_json(recipe)


@given(recipes, recipes)
def test_recipes_are_equal_exactly_when_their_digests_are(one, other):
    assert (one == other) == (one.digest == other.digest)


@given(recipes, st.data())
def test_changing_one_coefficient_changes_the_digest(recipe, data):
    layer = data.draw(st.integers(0, len(recipe.layers) - 1))
    part = data.draw(st.sampled_from(PARTS))
    old = recipe.layers[layer]
    new = data.draw(rules.filter(lambda rule: rule != old.rule(part)))
    parts = {p: new if p == part else old.rule(p) for p in PARTS}
    layers = (*recipe.layers[:layer], LayerMerge(**parts), *recipe.layers[layer + 1 :])
    assert Recipe(layers).digest != recipe.digest


def test_an_integer_coefficient_is_the_same_recipe_as_its_float():
    assert Recipe((LayerMerge(Lerp(1)),)).digest == Recipe((LayerMerge(Lerp(1.0)),)).digest


def test_the_canonical_json_is_the_golden_file(repo):
    assert to_json(WRITTEN) + "\n" == (repo / "tests/golden/recipe.json").read_text()


def test_digests_are_these_for_ever():
    assert (WRITTEN.digest, base(9).digest) == ("7f930c49f7b0", "d4ae9017a939")


def test_what_a_recipe_merges_can_be_asked():
    assert WRITTEN.merged_layers == (1, 2, 3, 10)
    assert WRITTEN.coefficients() == {1: 1.0, 3: 0.30000000000000004}
    assert WRITTEN.coefficients("mlp") == {2: 0.1, 3: 0.5}
    assert WRITTEN.coefficients("norm") == {2: 5e-324, 3: 1 / 3, 10: 1.0}
    assert [layer.is_merged for layer in WRITTEN.layers[:3]] == [False, True, True]


@given(recipes)
def test_asking_part_by_part_names_every_merged_layer(recipe):
    asked = {layer for part in PARTS for layer in recipe.coefficients(part)}
    assert tuple(sorted(asked)) == recipe.merged_layers


def test_a_recipe_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        WRITTEN.layers[1].attention.coefficient = 0.5
    with pytest.raises(FrozenInstanceError):
        WRITTEN.layers = ()


def test_a_recipe_without_layers_is_refused():
    with pytest.raises(UserError, match="a recipe needs at least one layer, got none"):
        Recipe(())


@pytest.mark.parametrize("value", [0.0, -0.1, 1.0000001, float("nan"), float("inf"), -1, 2])
def test_a_rule_s_coefficient_lies_above_zero_and_up_to_one(value):
    with pytest.raises(UserError, match=r"must lie in \(0, 1\], got .*leave the layer out"):
        Lerp(value)


HALF = {"rule": "lerp", "coefficient": 0.5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 1,\n!', r"a recipe is JSON, but line 2: "),
        ("", r"a recipe is JSON, but line 1: "),
        ("[]", r'a recipe has "schema": 1 at its top; got \'\[\]\''),
        ('{"schema": 2, "n_layers": 9, "layers": {}}', r'"schema": 1 at its top; got .*2'),
        (recipe_text({}, "9"), r'an integer "n_layers" and an object "layers"'),
        (recipe_text({}, 9.0), r'an integer "n_layers" and an object "layers"'),
        (recipe_text([]), r'an integer "n_layers" and an object "layers"'),
        (recipe_text({}, 0), r"at least one layer"),
        (recipe_text({"9": {}}), r"recipe layers run from 0 to 8; got \['9'\]"),
        (recipe_text({"-1": {}}), r"recipe layers run from 0 to 8; got \['-1'\]"),
        (recipe_text({"03": {"attention": HALF}}), r"run from 0 to 8; got \['03'\]"),
        (recipe_text({"²": {"attention": HALF}}), r"run from 0 to 8; got \['²'\]"),
        (recipe_text({"first": {}, "12": {}}), r"run from 0 to 8; got \['12', 'first'\]"),
        (recipe_text({"3": 0.5}), r"recipe layer 3: expected an object of parts, got 0\.5"),
        (
            recipe_text({"3": {"attn": HALF}}),
            r"recipe layer 3: parts are \('attention', 'mlp', 'norm'\), got \['attn'\]",
        ),
        (
            recipe_text({"3": {"mlp": 0.5}}),
            r'recipe layer 3 mlp: expected \{"rule": "lerp", "coefficient": c\}, got 0\.5',
        ),
        (recipe_text({"3": {"mlp": None}}), r"recipe layer 3 mlp: expected .* got None"),
        (
            recipe_text({"3": {"mlp": {"rule": "slerp", "coefficient": 0.5}}}),
            r"recipe layer 3 mlp: expected .*, got \{'rule': 'slerp'",
        ),
        (
            recipe_text({"3": {"mlp": {"rule": "lerp", "coefficient": "0.5"}}}),
            r"recipe layer 3 mlp: expected .*'coefficient': '0\.5'",
        ),
        (
            recipe_text({"3": {"mlp": {**HALF, "density": 0.2}}}),
            r"recipe layer 3 mlp: expected .*'density': 0\.2",
        ),
        (
            recipe_text({"3": {"norm": {"rule": "lerp", "coefficient": 1.5}}}),
            r"recipe layer 3 norm: a merge coefficient must lie in \(0, 1\], got 1\.5",
        ),
        (
            recipe_text({"3": {"norm": {"rule": "lerp", "coefficient": 0}}}),
            r"recipe layer 3 norm: .*leave the layer out of the recipe",
        ),
        (
            recipe_text({"3": {"norm": {"rule": "lerp", "coefficient": float("nan")}}}),
            r"recipe layer 3 norm: a merge coefficient must lie in \(0, 1\], got nan",
        ),
        (
            recipe_text({"3": {"norm": {"rule": "lerp", "coefficient": 10**400}}}),
            r"recipe layer 3 norm: a merge coefficient must lie in \(0, 1\], got 1000",
        ),
    ],
)
def test_what_is_no_recipe_is_refused_with_the_place(text, message):
    with pytest.raises(UserError, match=message):
        from_json(text)


def test_layers_of_a_recipe_need_no_order():
    layers = [(str(i), {"attention": HALF}) for i in range(9)]
    random.Random(1).shuffle(layers)
    assert from_json(recipe_text(dict(layers))) == attention(9, dict.fromkeys(range(9), 0.5))
