from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.models.mergekit.names import roles_in
from merit_opt.models.mergekit.read import Imported
from merit_opt.models.mergekit.roles import Roles
from merit_opt.models.source import PairSource, folder_pair
from merit_opt.recipe.constructors import full, uniform
from merit_opt.recipe.recipe import LayerMerge
from merit_opt.recipe.rules import Lerp, Slerp, TaskArithmetic, Ties
from tests.unit.models.mergekit_files import (
    ATTENTION,
    DEPTH,
    by_part,
    dump,
    flipped,
    imported,
    linear,
    read,
    recipes_of,
    weighted,
    write,
)

STRANGERS = Roles("./one", "./other", None)


def test_of_two_models_unknown_to_the_pair_the_base_model_is_the_vlm_wherever_it_stands():
    text = linear(ATTENTION.format(0.25, 0), ATTENTION.format(0.75, 1), "base_model: LLM")
    found = imported(text, pair=STRANGERS)
    assert found == Imported(full(DEPTH, 0.25), Roles("LLM", "VLM", None))


def test_of_two_models_unknown_to_the_pair_the_first_is_the_vlm():
    text = linear(ATTENTION.format(0.75, 1), ATTENTION.format(0.25, 0))
    found = imported(text, pair=STRANGERS)
    assert found == Imported(full(DEPTH, 0.25), Roles("VLM", "LLM", None))


@pytest.mark.parametrize(
    "pair",
    [
        Roles("VLM", "LLM", None),
        Roles("./VLM/", "elsewhere", None),
        Roles("elsewhere", "LLM", None),
    ],
)
@given(recipes_of(Lerp), st.sampled_from(["", "base_model: LLM"]))
def test_models_that_the_pair_names_have_its_roles_in_any_order(pair, recipe, base_model):
    entries = by_part(recipe)
    models = [weighted("LLM", entries, 0), weighted("VLM@main", flipped(entries), 1)]
    text = dump({"merge_method": "linear", "models": models}) + base_model
    found = imported(text, n_layers=len(recipe.layers), pair=pair)
    assert found == Imported(recipe, Roles("VLM@main", "LLM", None))


@pytest.mark.parametrize("method", ["slerp", "task_arithmetic"])
def test_a_merge_that_starts_from_the_pair_s_backbone_is_seen_from_the_vlm(method):
    name = "t" if method == "slerp" else "weight"
    kind = Slerp if method == "slerp" else Lerp
    setting = {name: [{"filter": ".layers.1.mlp.", "value": 0.25}, {"value": 1}]}
    document = {
        "merge_method": method,
        "base_model": "LLM",
        "models": [{"model": "VLM"}],
        "parameters": setting,
    }
    assert read(dump(document)).coefficients("mlp") == {1: 0.75}
    assert read(dump(document)).layers[1] == LayerMerge(mlp=kind(0.75))


def test_the_tokenizer_of_a_base_that_is_not_the_vlm_is_refused():
    text = linear(1, 0, "tokenizer_source: base") + "base_model: LLM\n"
    with pytest.raises(UserError, match=r"tokenizer_source: .* expected VLM, got 'base'"):
        read(text)


TASK_VECTORS = """
    merge_method: ties
    base_model: BASE
    models:
      - {model: LLM, parameters: {weight: [{filter: mlp, value: 1}, {value: 0}]}}
      - {model: VLM, parameters: {weight: [{filter: mlp, value: 3}, {value: 1}]}}
    parameters:
      lambda: [{filter: mlp, value: 0.5}, {value: 1}]
      density: [{filter: mlp, value: 0.2}, {value: 1}]
    """


def text_only(text):
    """With filters of the decoder's whole prefix, since the vision tower has an `mlp` too."""
    return text.replace("filter: mlp", "filter: model.layers.1.mlp")


def test_ties_is_read_from_weights_of_any_sum():
    text = text_only(TASK_VECTORS)
    assert read(text).layers == (
        LayerMerge(),
        LayerMerge(mlp=Ties(0.25, 0.5, 0.2)),
        LayerMerge(),
        LayerMerge(),
    )
    assert imported(text).roles == Roles("VLM", "LLM", "BASE")


def test_task_arithmetic_multiplies_by_the_sum_of_weights_unless_it_divides_by_it():
    text = text_only(TASK_VECTORS).replace("ties", "task_arithmetic")
    assert read(text).layers[1] == LayerMerge(mlp=TaskArithmetic(0.25, 2.0))
    text += "  normalize: true"
    assert read(text).layers[1] == LayerMerge(mlp=TaskArithmetic(0.25, 0.5))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("filter: model.layers.1.mlp", "filter: mlp", r"gives visual\S+ 0\.25 of the second"),
        ("value: 0.5}, {value: 1}", "value: 0.5}, {value: 2}", r"learned by 2 and keeps 1 of it"),
        ("value: 0.2}, {value: 1}", "value: 0.2}, {value: 0.5}", r"by 1 and keeps 0\.5 of it"),
        ("density", "normalize: false\n      density", "has one density .*, normalize: true"),
        ("density", "rescale: true\n      density", "has one density .*, .* rescale: false"),
        ("{model: VLM, parameters: {", "{model: VLM, parameters: {density: 0.1, ", "keeps 0.1 of"),
        ("value: 3", "value: -3", "weights of .*mlp.* are -3 and 1; a recipe's are 0 or more"),
        ("base_model: BASE", "base_model: VLM", "has two models beside their common ancestor"),
    ],
)
def test_task_vectors_that_no_recipe_has_are_refused(old, new, message):
    text = text_only(TASK_VECTORS)
    assert old in text
    with pytest.raises(UserError, match=message):
        read(text.replace(old, new))


def test_an_ancestor_that_is_one_of_the_pair_is_refused():
    text = text_only(TASK_VECTORS).replace("model: VLM", "model: Third")
    with pytest.raises(UserError, match=r"base_model \./VLM is one of the pair"):
        read(text.replace("base_model: BASE", "base_model: ./VLM"))


def test_a_model_of_the_hub_is_named_with_its_revision():
    given = {"base": None, "base_revision": None, "accept": (), "dtype": None}
    source = PairSource(
        vlm="acme/vlm", backbone="acme/text", revision="v2", backbone_revision=None, **given
    )
    assert roles_in(source) == Roles("acme/vlm@v2", "acme/text", None)
    based = replace(source, backbone_revision="abc", base="acme/base", base_revision="v1")
    assert roles_in(based) == Roles("acme/vlm@v2", "acme/text@abc", "acme/base@v1")
    text = write(uniform(2, 0.5), pair=roles_in(source))
    assert "base_model: acme/vlm@v2" in text


def test_a_folder_whose_name_mergekit_would_cut_is_refused(tmp_path):
    folder = tmp_path / "vlm@home"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        (folder / name).touch()
    with pytest.raises(UserError, match=r"follows the @ in .*vlm@home as a revision; rename"):
        roles_in(folder_pair(folder, folder, None))
