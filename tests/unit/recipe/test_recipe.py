import json
import random
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.recipe.constructors import attention, base
from merit_opt.recipe.recipe import PARTS, LayerMerge, Recipe, from_json, to_json
from merit_opt.recipe.rules import (
    MAX_SEED,
    DareLinear,
    DareTies,
    Lerp,
    Slerp,
    TaskArithmetic,
    Ties,
    TiesByCount,
    lerp,
)

coefficients = st.floats(0.0, 1.0, exclude_min=True)
scales = st.floats(0.0, exclude_min=True, allow_infinity=False)
seeds = st.integers(0, MAX_SEED)
rules = st.none() | st.one_of(
    st.builds(Lerp, coefficients),
    st.builds(Slerp, coefficients),
    st.builds(TaskArithmetic, coefficients, scales),
    st.builds(Ties, coefficients, scales, coefficients),
    st.builds(TiesByCount, coefficients, scales, coefficients),
    st.builds(DareLinear, coefficients, scales, coefficients, seeds),
    st.builds(DareTies, coefficients, scales, coefficients, seeds),
)
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


def test_the_json_of_every_rule_names_its_numbers():
    text = to_json(
        Recipe(
            (
                LayerMerge(Slerp(0.5), TaskArithmetic(1, 2), Ties(0.5, 1, 0.2)),
                LayerMerge(TiesByCount(1 / 9, 1.8, 0.2), DareLinear(0.5, 1, 0.5, 7.0)),
                LayerMerge(norm=DareTies(0.25, 1.5, 1, MAX_SEED)),
            )
        )
    )
    of_ties = {"coefficient": 0.5, "density": 0.2, "rule": "ties", "scale": 1.0}
    assert json.loads(text)["layers"] == {
        "0": {
            "attention": {"coefficient": 0.5, "rule": "slerp"},
            "mlp": {"coefficient": 1.0, "rule": "task_arithmetic", "scale": 2.0},
            "norm": of_ties,
        },
        "1": {
            "attention": {**of_ties, "coefficient": 1 / 9, "rule": "ties_by_count", "scale": 1.8},
            "mlp": {**of_ties, "density": 0.5, "rule": "dare_linear", "seed": 7},
        },
        "2": {
            "norm": {
                "coefficient": 0.25,
                "density": 1.0,
                "rule": "dare_ties",
                "scale": 1.5,
                "seed": MAX_SEED,
            }
        },
    }
    assert '"seed":7}' in text
    assert from_json(text).digest == "953f868f5c9b"


def test_a_recipe_needs_a_base_when_any_of_its_rules_does():
    assert not WRITTEN.needs_base
    assert not Recipe((LayerMerge(Slerp(0.5)), LayerMerge())).needs_base
    assert Recipe((LayerMerge(Lerp(0.5), norm=TaskArithmetic(0.5, 1)), LayerMerge())).needs_base


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
TIES = {"rule": "ties", "coefficient": 0.5, "scale": 1.0}


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
            r'recipe layer 3 mlp: expected an object such as \{"rule": "lerp", .*, got 0\.5',
        ),
        (recipe_text({"3": {"mlp": None}}), r"recipe layer 3 mlp: expected .* got None"),
        (
            recipe_text({"3": {"mlp": {"coefficient": 0.5}}}),
            r"recipe layer 3 mlp: expected an obj",
        ),
        (recipe_text({"3": {"mlp": {"rule": 5}}}), r"recipe layer 3 mlp: expected an object such"),
        (
            recipe_text({"3": {"mlp": {"rule": "ties_count", "coefficient": 0.5}}}),
            (
                r"recipe layer 3 mlp: there is no rule 'ties_count'; did you mean ties_by_count\? The "
                r"rules are lerp, slerp, task_arithmetic, ties, ties_by_count, dare_linear, dare_ties$"
            ),
        ),
        (
            recipe_text({"3": {"mlp": {"rule": "lerp", "coefficient": "0.5"}}}),
            r"recipe layer 3 mlp: a rule's coefficient must be a number, got '0\.5'",
        ),
        (
            recipe_text({"3": {"mlp": {"rule": "lerp", "coefficient": True}}}),
            r"recipe layer 3 mlp: a rule's coefficient must be a number, got True",
        ),
        (
            recipe_text({"3": {"mlp": {**HALF, "density": 0.2, "alpha": 1}}}),
            r"recipe layer 3 mlp: a rule lerp has coefficient; this one has no alpha, density$",
        ),
        (
            recipe_text({"3": {"mlp": {"rule": "ties", "coefficient": 0.5}}}),
            r"mlp: a rule ties has coefficient, scale, density; this one lacks scale, density$",
        ),
        (
            recipe_text({"3": {"mlp": {**TIES, "seed": 1, "scale": 0}}}),
            r"a rule ties has coefficient, scale, density; this one lacks density and has no seed$",
        ),
        (
            recipe_text({"3": {"mlp": {**TIES, "density": 0.5, "scale": 0}}}),
            r"recipe layer 3 mlp: a rule's scale must be finite and above 0, got 0",
        ),
        (
            recipe_text({"3": {"mlp": {**TIES, "rule": "dare_ties", "density": 1, "seed": 0.5}}}),
            r"recipe layer 3 mlp: a rule's seed must be a whole number from 0 to 4294967295, got",
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
