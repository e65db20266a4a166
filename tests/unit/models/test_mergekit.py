import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.models.mergekit.names import NamedTensor
from merit_opt.models.mergekit.read import from_mergekit
from merit_opt.models.mergekit.roles import Roles
from merit_opt.models.mergekit.write import to_mergekit
from merit_opt.recipe.constructors import attention, base, full, uniform
from merit_opt.recipe.recipe import LayerMerge, Recipe
from merit_opt.recipe.rules import DareTies, Lerp, Slerp, TaskArithmetic, Ties, TiesByCount, lerp
from tests.unit.models.mergekit_files import (
    ATTENTION,
    DEPTH,
    GIVEN,
    LLAVA,
    OTHERS,
    PAIR,
    QWEN,
    SCALES,
    SHARES,
    by_part,
    dump,
    flipped,
    linear,
    read,
    recipes_of,
    tensors,
    weighted,
    write,
)

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


@given(recipes_of(Lerp, most=4), st.booleans())  # a file of n layers names each n times
@example(recipe=attention(12, {1: 0.25, 10: 0.5, 11: 1.0}), through_modules=False)
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
