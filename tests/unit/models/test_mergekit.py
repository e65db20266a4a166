from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.models.mergekit.names import NamedTensor, roles_in
from merit_opt.models.mergekit.read import Imported, from_mergekit
from merit_opt.models.mergekit.roles import Roles
from merit_opt.models.mergekit.write import to_mergekit
from merit_opt.models.source import PairSource, folder_pair
from merit_opt.recipe.constructors import attention, base, full, uniform
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import DareTies, Lerp, Slerp, TaskArithmetic, Ties, TiesByCount, lerp
from tests.unit.models.mergekit_files import (
    DEPTH,
    GIVEN,
    LLAVA,
    OTHERS,
    PAIR,
    QWEN,
    dump,
    imported,
    linear,
    read,
    tensors,
    write,
)

SHARES = st.floats(0.0, 1.0, exclude_min=True)
SCALES = st.floats(1e-3, 10.0)


def recipes_of(kind, *others):
    rules = st.none() | st.builds(kind, SHARES, *others)
    layers = st.lists(st.builds(LayerMerge, rules, rules, rules), min_size=1, max_size=13)
    return layers.map(lambda found: Recipe(tuple(found)))


recipes = (
    recipes_of(Lerp)
    | recipes_of(Slerp)
    | recipes_of(TaskArithmetic, SCALES)
    | recipes_of(Ties, SCALES, SHARES)
)
prefixes = st.sampled_from([QWEN, LLAVA])


@given(recipes, prefixes)
def test_a_written_recipe_is_read_back(recipe, prefix):
    text = write(recipe, prefix)
    assert read(text, prefix, len(recipe.layers)) == recipe


@given(recipes_of(Lerp), prefixes)
def test_a_filter_matches_the_tensors_of_one_part_of_one_layer(recipe, prefix):
    names = {t.name: t for t in tensors(len(recipe.layers), prefix)}
    document = yaml.safe_load(write(recipe, prefix))
    ours, theirs = (model["parameters"]["weight"] for model in document["models"])
    for kept, merged in zip(ours[:-1], theirs[:-1], strict=True):
        assert kept["filter"] == merged["filter"]
        assert kept["value"] == 1 - merged["value"]
        matched = [names[name] for name in (*names, *OTHERS[prefix]) if merged["filter"] in name]
        assert len({(t.layer, t.part) for t in matched}) == 1
    assert (ours[-1], theirs[-1]) == ({"value": 1.0}, {"value": 0.0})


GOLDEN = Recipe(
    (
        LayerMerge(),
        LayerMerge(attention=Lerp(0.2)),
        LayerMerge(),
        LayerMerge(Lerp(0.65), Lerp(1e-05), Lerp(1.0)),
        *(LayerMerge(),) * 7,
        LayerMerge(mlp=Lerp(0.1 + 0.2)),
    )
)


def test_a_linear_file_is_the_golden_file(repo):
    assert write(GOLDEN) == (repo / "tests/golden/mergekit.yml").read_text()


def test_a_spherical_recipe_is_written_with_t():
    text = write(Recipe((LayerMerge(), LayerMerge(Slerp(0.25)))))
    assert yaml.safe_load(text) == {
        "merge_method": "slerp",
        "dtype": "bfloat16",
        "base_model": "./VLM",
        "parameters": {
            "t": [{"filter": "model.layers.1.self_attn.", "value": 0.25}, {"value": 0.0}]
        },
        "models": [{"model": "./VLM"}, {"model": "./LLM"}],
    }


def test_a_module_that_two_parts_share_is_filtered_by_tensor():
    shared = [
        NamedTensor("model.layers.0.self_attn.q_proj.weight", 0, "attention"),
        NamedTensor("model.layers.0.self_attn.q_norm.weight", 0, "norm"),
    ]
    recipe = Recipe((LayerMerge(attention=Lerp(0.5)),))
    text = to_mergekit(recipe, shared, **GIVEN)
    assert "{filter: model.layers.0.self_attn.q_proj.weight, value: 0.5}" in text
    assert from_mergekit(text, shared, (), 1, PAIR).recipe == recipe


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (
            Recipe((LayerMerge(Lerp(0.5)), LayerMerge(Slerp(0.5)))),
            "one method for all tensors, and the recipe has lerp, slerp. format=hf writes",
        ),
        (
            Recipe((LayerMerge(Lerp(0.5), TiesByCount(0.5, 1, 1)),)),
            "does ties_by_count, for mergekit's ties divides by weights, .* format=hf writes",
        ),
        (
            Recipe((LayerMerge(DareTies(0.5, 1, 0.5, 0)),)),
            "does dare_ties, for mergekit draws other entries and rescales them by the norm",
        ),
    ],
)
def test_what_mergekit_cannot_express_is_refused_by_name(recipe, message):
    with pytest.raises(UserError, match=message):
        write(recipe)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "int8"}, "float16, bfloat16, float32, float64; got dtype 'int8'"),
        ({"pair": Roles("./LLM", "./LLM", None)}, "each model of a merge once, .*LLM, ./LLM; "),
        ({"pair": Roles("./VLM", "./L+M", None)}, r"follows the \+ in './L\+M' as a LoRA"),
        ({"pair": Roles("./VLM", "a@b@c", None)}, "reads @ as a revision, and 'a@b@c' has two"),
        ({"pair": Roles("", "./LLM", None)}, "base_model: expected a folder or .*, got ''"),
    ],
)
def test_names_and_dtypes_that_mergekit_reads_otherwise_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        write(uniform(2, 0.5), **changes)


@pytest.mark.parametrize(
    "other",
    ["vision_model.layers.1.self_attn.q_proj.weight", "draft.model.layers.1.self_attn.k.weight"],
)
def test_a_tower_that_a_filter_would_reach_is_named(other):
    with pytest.raises(UserError, match=f"gives {other} 0.5 of the second model"):
        write(attention(2, {1: 0.5}), others=[other])


def test_a_layer_that_another_layer_s_filter_would_reach_is_refused():
    inner = [
        NamedTensor(f"layers.{i}.self_attn.q_proj.weight", i, "attention") for i in range(2)
    ] + [NamedTensor("layers.1.layers.0.self_attn.q_proj.weight", 1, "attention")]
    with pytest.raises(UserError, match=r"layer 1 attention: .* gets none and layers.1.layers.0"):
        to_mergekit(attention(2, {0: 0.5}), inner, **GIVEN)


def test_a_recipe_for_another_model_is_refused():
    with pytest.raises(
        UserError, match=r"the recipe has 2 layers, but the VLM has model\.layers\.2"
    ):
        to_mergekit(uniform(2, 0.5), tensors(3), **GIVEN)
    some = [t for t in tensors(2) if (t.layer, t.part) != (1, "mlp")]
    with pytest.raises(UserError, match="merges mlp of layer 1, but the VLM has none"):
        to_mergekit(full(2, 0.5), some, **GIVEN)


def by_part(recipe, prefix=QWEN):
    """Filter -> coefficient, by tensor."""
    return [
        {"filter": t.name, "value": rule.coefficient}
        for t in tensors(len(recipe.layers), prefix)
        if (rule := recipe.layers[t.layer].rule(t.part)) is not None
    ]


def flipped(entries):
    return [entry | {"value": 1.0 - entry["value"]} for entry in entries]


def weighted(model, entries, default, **more):
    return {"model": model, **more, "parameters": {"weight": [*entries, {"value": default}]}}


@given(recipes_of(Lerp))
def test_task_arithmetic_is_linear_from_its_base(recipe):
    text = dump(
        {
            "merge_method": "task_arithmetic",
            "base_model": "VLM",
            "parameters": {"int8_mask": True, "lambda": 1},
            "models": [weighted("LLM", by_part(recipe), 0)],
        }
    )
    assert read(text, n_layers=len(recipe.layers)) == recipe


@given(recipes_of(Lerp), st.booleans())
def test_a_slice_for_each_layer_says_the_same(recipe, through_modules):
    entries = by_part(recipe)
    slices = [
        {
            "sources": [
                weighted("VLM", flipped(entries), 1, layer_range=[i, i + 1]),
                weighted("LLM", entries, 0, layer_range=[i, i + 1]),
            ]
        }
        for i in range(len(recipe.layers))
    ]
    document = {"merge_method": "linear", "slices": slices}
    if through_modules:
        tower = {"models": [weighted("VLM", [], 1), weighted("LLM", [], 0)]}
        modules = {"vision_tower": tower, "text_decoder": {"slices": slices}}
        document = {"merge_method": "linear", "modules": modules}
    assert read(dump(document), n_layers=len(recipe.layers)) == recipe


@given(recipes_of(Slerp))
def test_slerp_is_read_as_slerp_whether_or_not_the_base_is_listed(recipe):
    document = {
        "merge_method": "slerp",
        "base_model": "VLM",
        "parameters": {"t": [*by_part(recipe), {"value": 0}]},
    }
    expected = recipe if recipe.merged_layers else base(len(recipe.layers))
    for models in ([{"model": "LLM"}], [{"model": "LLM"}, {"model": "VLM"}]):
        text = dump(document | {"models": models})
        assert read(text, n_layers=len(recipe.layers)) == expected


ATTENTION = "[{{filter: layers., value: {0}}}, {{value: {1}}}]"
PLACES = """
    merge_method: linear
    parameters: {weight: 1}
    modules:
      vision_tower: {models: [{model: VLM}]}
      text_decoder:
        parameters: {weight: [{filter: mlp, value: 9}, {filter: layernorm, value: 4}]}
        slices:
          - parameters: {weight: [{filter: mlp, value: 1}, {filter: self_attn, value: 7}]}
            sources:
              - {model: VLM, layer_range: [0, 2], parameters: {weight: 1}}
              - model: LLM
                layer_range: [0, 2]
                parameters: {weight: [{filter: embed, value: 0}, {filter: self_attn, value: 3}]}
          - sources:
              - {model: VLM, layer_range: [2, 3], parameters: {weight: 1}}
              - {model: LLM, layer_range: [2, 3]}
          - sources:
              - {model: VLM, layer_range: [3, 4]}
"""


def test_a_narrower_place_goes_before_a_wider_one_and_falls_through_to_it():
    first = LayerMerge(attention=Lerp(3 / 4), mlp=Lerp(1 / 2), norm=Lerp(4 / 5))
    second = LayerMerge(attention=Lerp(1 / 2), mlp=Lerp(9 / 10), norm=Lerp(4 / 5))
    assert read(PLACES) == Recipe((first, first, second, LayerMerge()))


def test_embeddings_belong_to_the_first_slice_and_the_final_norm_to_the_last():
    with pytest.raises(UserError, match=r"gives model\.embed_tokens\.weight 0\.5 of the second"):
        read(PLACES.replace("{filter: embed, value: 0}, ", ""))
    last = "[3, 4]}\n              - {model: LLM, layer_range: [3, 4]}"
    with pytest.raises(UserError, match=r"gives model\.norm\.weight 0\.5 of the second"):
        read(PLACES.replace("[3, 4]}", last))


def test_a_gradient_is_spread_over_the_layers_of_its_slice():
    text = linear(ATTENTION.format("[1, 0.5, 0]", 1), ATTENTION.format("[0, 0.5, 1]", 0))
    assert read(text, n_layers=5) == Recipe(
        tuple(LayerMerge(*(lerp(i / 4),) * 3) for i in range(5))
    )
    one_layer = dump(
        {
            "merge_method": "task_arithmetic",
            "base_model": "VLM",
            "slices": [
                {
                    "sources": [
                        {"model": "VLM", "layer_range": [i, i + 1]},
                        weighted(
                            "LLM",
                            [{"filter": "self_attn", "value": [0.25, 0.75]}],
                            0,
                            layer_range=[i, i + 1],
                        ),
                    ]
                }
                for i in range(DEPTH)
            ],
        }
    )
    assert read(one_layer) == uniform(DEPTH, 0.75)


def test_the_first_filter_that_matches_counts():
    entries = (
        "[{{filter: 1.self_attn, value: {0}}}, {{filter: 's.1.', value: {1}}}, {{value: {1}}}]"
    )
    assert read(linear(entries.format(0.25, 1), entries.format(0.75, 0))) == attention(
        DEPTH, {1: 0.75}
    )
    text = linear(
        ATTENTION.format(0.25, 1),
        "[{value: 0}, {filter: layers., value: 0.75}]",
        "parameters: {normalize: true}",
    )
    assert read(text) == base(DEPTH)


@pytest.mark.parametrize(
    "entry", ["{value: 1}", "{filter: '*', value: 1}", "{filter: null, value: 1}"]
)
def test_an_entry_without_a_filter_is_the_default(entry):
    vlm = f"[{{filter: self_attn.q_proj.weight, value: 1}}, {entry}]"
    assert read(linear(vlm, 0)) == base(DEPTH)


def test_weights_are_divided_by_their_sum_unless_normalize_is_false():
    text = linear(ATTENTION.format(3, 7), ATTENTION.format(1, 0))
    assert read(text) == full(DEPTH, 0.25)
    with pytest.raises(UserError, match=r"weights of model.* sum to \d; expected 1, or another"):
        read(text + "parameters: {normalize: false}\n")
    with pytest.raises(UserError, match=r"sum to 0; expected 1"):
        read(linear(ATTENTION.format(-1, 1), ATTENTION.format(1, 0)))


def test_normalized_task_arithmetic_takes_the_whole_backbone_where_its_weight_is_not_zero():
    text = """
        merge_method: task_arithmetic
        base_model: VLM
        models: [{model: LLM, parameters: {weight: [{filter: layers.1.mlp, value: 0.25}, {value: 0}]}}]
        parameters: {normalize: true, lambda: 0.5}
        """
    merged = Recipe((LayerMerge(), LayerMerge(mlp=Lerp(0.5)), LayerMerge(), LayerMerge()))
    assert read(text) == merged
    assert read(text.replace("true", "false")).coefficients("mlp") == {1: 0.125}


def test_numbers_that_yaml_leaves_strings_are_numbers():
    text = linear(ATTENTION.format("9990e-4", 1), ATTENTION.format("1e-3", 0))
    assert read(text) == full(DEPTH, 0.001)


@pytest.mark.parametrize(
    "line",
    [
        "dtype: float32",
        "out_dtype: torch.bfloat16",
        "tokenizer_source: base",
        "tokenizer_source: VLM",
        "tokenizer: {source: base}",
        "parameters: {int8_mask: true, embed_slerp: true}",
        "base_model: VLM",
        "chat_template: null",
    ],
)
def test_what_changes_no_tensor_is_ignored(line):
    text = linear(ATTENTION.format(0.5, 1), ATTENTION.format(0.5, 0), line)
    assert read(text) == full(DEPTH, 0.5)


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
