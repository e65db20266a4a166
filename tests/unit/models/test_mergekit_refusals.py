import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from merit_opt.errors import UserError
from tests.unit.models.mergekit_files import DEPTH, dump, linear, read


@pytest.mark.parametrize(
    ("vlm", "backbone", "message"),
    [
        (0.5, 0.5, r"gives model\.embed_tokens\.weight 0\.5 of the second model, but a recipe"),
        (
            "[{filter: embed, value: 1}, {value: 0.5}]",
            "[{filter: embed, value: 0}, {value: 0.5}]",
            r"gives model\.norm\.weight 0\.5",
        ),
        (
            "[{filter: mlp, value: 0.5}, {value: 1}]",
            "[{filter: mlp, value: 0.5}, {value: 0}]",
            r"gives visual\.blocks\.1\.mlp\.up_proj\.weight 0\.5",
        ),
        (
            "[{filter: attn, value: [1, 0.5]}, {value: 1}]",
            "[{filter: attn, value: [0, 0.5]}, {value: 0}]",
            r"models\[0\]\.parameters\.weight: the gradient reaches visual\.blocks\.1\.attn",
        ),
        (
            "[{filter: 2.self_attn.q, value: 0.5}, {value: 1}]",
            "[{filter: 2.self_attn.q, value: 0.5}, {value: 0}]",
            r"layer 2 attention: .*q_proj\.weight gets lerp:0\.5 and model\.layers\.2\.self_attn\.o_p",
        ),
        (
            "[{filter: self_attn., value: 1.5}, {value: 1}]",
            "[{filter: self_attn., value: -0.5}, {value: 0}]",
            r"gives model\.layers\.0\.self_attn\.q_proj\.weight -0\.5 .*from 0 to 1",
        ),
        (1, "[{filter: self_attn., value: 0}]", r"no weight of LLM for model\.embed_tokens"),
    ],
)
def test_what_no_recipe_says_is_refused_by_the_tensor_s_name(vlm, backbone, message):
    with pytest.raises(UserError, match=message):
        read(linear(vlm, backbone))


def test_a_tower_that_a_module_merges_is_named():
    text = """
        merge_method: linear
        modules:
          text_decoder: {models: [{model: VLM}], parameters: {weight: 1}}
          vision_tower: {models: [{model: VLM}, {model: LLM}], parameters: {weight: 1}}
        """
    with pytest.raises(UserError, match=r"gives visual\.patch_embed\.proj\.weight 0\.5"):
        read(text)


PLAIN = linear(1, 0)
SPHERICAL = """
    merge_method: slerp
    base_model: VLM
    models: [{model: VLM}, {model: LLM}]
    parameters: {t: 0}
    """
ONE_SLICE = """
    merge_method: linear
    parameters: {weight: 1}
    slices:
      - sources: [{model: VLM, layer_range: [0, 4]}, {model: LLM, layer_range: [0, 4]}]
    """


@pytest.mark.parametrize(
    ("text", "old", "new", "message"),
    [
        (PLAIN, "linear", "dare_ties", r"merge_method: this reads linear, .*; got 'dare_ties'"),
        (PLAIN, "linear", "ties", "base_model is missing; ties starts"),
        (PLAIN, "linear", "[linear]", r"merge_method: .*got \['linear'\]"),
        (PLAIN, "merge_method: linear", "", "merge_method is missing"),
        (PLAIN, "merge_method", "method", "a mergekit file: this reads .*; got 'method'"),
        (PLAIN, "models:", "models: 3\nrest:", "mergekit file: this reads .*; got 'rest'"),
        (PLAIN, "models:", "slices: []\nmodels:", "exactly one of models:, slices: and modules:"),
        (PLAIN, "LLM", "VLM", "models: VLM is listed twice"),
        (PLAIN, "LLM", "{path: LLM}", r"models\[1\]\.model: expected a folder .* got \{'path"),
        (PLAIN, "LLM", "LLM+lora", r"models\[1\]\.model: .*LoRA"),
        (PLAIN, "{weight: 0}", "[0]", r"models\[1\]\.parameters: expected a mapping"),
        (PLAIN, "{weight: 0}", "{wieght: 0}", r"models\[1\]\.parameters: this .*got 'wieght'"),
        (PLAIN, "{weight: 0}", "{normalize: true}", r"\.normalize: linear does not read it for"),
        (PLAIN, "weight: 0", "weight: true", r"parameters\.weight: expected a number .*got True"),
        (PLAIN, "weight: 0", "weight: []", r"parameters\.weight: expected a list with at least"),
        (PLAIN, "weight: 0", "weight: .nan", r"expected a number of usual size, got nan"),
        (
            PLAIN,
            "weight: 0",
            "weight: 1" + 400 * "0",
            r"expected a number of usual size, got 1000",
        ),
        (PLAIN, "weight: 0", "weight: [{value: 1}, 2]", r"weight\[1\]: expected a mapping with"),
        (PLAIN, "weight: 0", "weight: {filter: a}", r"weight\[0\]: value is missing"),
        (PLAIN, "weight: 0", "weight: {filter: 1, value: 1}", r"weight\[0\]\.filter: expected"),
        (PLAIN, "models:", "parameters: {normalize: 2}\nmodels:", "normalize: expected true or"),
        (PLAIN, "models:", "dtype: int64\nmodels:", "dtype: expected one of float16, .*int64"),
        (PLAIN, "models:", "tokenizer_source: union\nmodels:", "tokenizer_source: .*got 'union'"),
        (PLAIN, "models:", "tokenizer: {source: LLM}\nmodels:", "tokenizer.source: .*got 'LLM'"),
        (PLAIN, "models:", "chat_template: auto\nmodels:", "chat_template: a recipe keeps"),
        (PLAIN, "models:", "base_model: Third\nmodels:", "merges two models.* names 3: Third, V"),
        (PLAIN, "linear", "task_arithmetic", "base_model is missing; task_arithmetic starts"),
        (PLAIN, "VLM", "&a VLM", "line 5: anchors and aliases are not read"),
        (PLAIN, "VLM", "!!python/name:os.system VLM", "line 5: tags such as"),
        (PLAIN, "VLM", "V" * 1001, "line 5: a value of more than 1000 characters"),
        (PLAIN, "VLM", "[" * 20, "line 5: nested deeper"),
        (PLAIN, "VLM", "2001-99-99", "a value cannot be read: month must be in"),
        (PLAIN, "models:", "models: }", "a mergekit file is YAML, but line 4"),
        (PLAIN, "models:", "---\nmodels:", "a mergekit file is YAML, but line 4"),
        (PLAIN, "models:", "models: \0", "a value cannot be read"),
        (PLAIN, PLAIN, "", "a mergekit file: expected a mapping .*got None"),
        (SPHERICAL, "t: 0", "t: [{filter: a, value: 0}]", r"no t for model\.embed_tokens"),
        (SPHERICAL, "t: 0", "t: 0.5", r"gives model\.embed_tokens\.weight 0\.5"),
        (SPHERICAL, "t: 0", "weight: 0", r"parameters: this reads .*got 'weight'"),
        (
            SPHERICAL,
            "{model: LLM}",
            "{model: LLM, parameters: {t: 0}}",
            "does not read it for one",
        ),
        (ONE_SLICE, "[0, 4]}]", "[1, 5]}]", "layers 1 to 4 of LLM come where layers 0 to 3"),
        (ONE_SLICE, "[0, 4]", "[0, 3]", "the slices give 3 decoder layers, but the VLM has 4"),
        (ONE_SLICE, "[0, 4]", "[0, 9999]", "give 9999 decoder layers, but the VLM has 4"),
        (ONE_SLICE, "[0, 4]", f"[0, {'9' * 30}]", r"layer_range: expected \[FIRST, LAST \+ 1\]"),
        (ONE_SLICE, "[0, 4]", "[true, 4]", r"layer_range: expected \[FIRST, LAST \+ 1\]"),
        (ONE_SLICE, "slices:", "x: 1\nslices:", "this reads .*; got 'x'"),
        (ONE_SLICE, "- sources:", "- base_model: X\n    sources:", r"slices\[0\]\.base_model"),
    ],
)
def test_what_is_no_such_file_is_refused_with_the_place(text, old, new, message):
    text = textwrap.dedent(text)
    assert old in text or text == PLAIN
    with pytest.raises(UserError, match=message):
        read(text.replace(old, new))


def test_two_modules_without_a_text_decoder_are_refused():
    module = {"models": [{"model": "VLM"}]}
    text = dump({"merge_method": "linear", "modules": {"a": module, "b": module}})
    with pytest.raises(UserError, match=r"modules: expected text_decoder .*; got a, b"):
        read(text)


def test_a_file_of_more_than_a_million_characters_is_refused_unread():
    with pytest.raises(UserError, match="at most 1000000 characters, got 1000001"):
        read("[" * 1_000_001)


def is_refused_in_a_sentence(text):
    try:
        read(text)
    except UserError as error:
        return bool(str(error))
    return True


@given(st.text() | st.text(alphabet="{}[]&*!|>'\"%@`:-? \n\t#,~=<abc01.x_eE+"))
@settings(max_examples=400)
def test_any_text_is_read_or_refused_in_a_sentence(text):
    assert is_refused_in_a_sentence(text)


WORDS = st.sampled_from(
    [
        "merge_method",
        "linear",
        "slerp",
        "task_arithmetic",
        "base_model",
        "models",
        "model",
        "slices",
        "sources",
        "modules",
        "layer_range",
        "parameters",
        "weight",
        "t",
        "normalize",
        "lambda",
        "value",
        "filter",
        "dtype",
        "tokenizer",
        "tokenizer_source",
        "source",
        "chat_template",
        "text_decoder",
        "vision_tower",
        "VLM",
        "LLM",
        "base",
        "*",
        "self_attn",
        "layers.1.",
        "1e-3",
        "int8_mask",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | WORDS
    | st.text(max_size=3)
    | st.dates()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | LEAVES, inner, max_size=4),
    max_leaves=12,
)
NUMBERS = st.integers(-1, 2) | st.floats(-1, 2) | VALUES
SETTINGS = NUMBERS | st.lists(
    NUMBERS | st.fixed_dictionaries({"value": NUMBERS}, optional={"filter": WORDS}), max_size=3
)
SCOPES = (
    st.dictionaries(st.sampled_from(["weight", "t", "lambda", "normalize", "density"]), SETTINGS)
    | VALUES
)
MODELS = st.sampled_from(["VLM", "LLM", "BASE"]) | VALUES
SOURCES = st.lists(
    st.fixed_dictionaries(
        {"model": MODELS}, optional={"parameters": SCOPES, "layer_range": st.just([0, DEPTH])}
    ),
    max_size=3,
)
SLICES = st.lists(
    st.fixed_dictionaries({"sources": SOURCES}, optional={"parameters": SCOPES}), max_size=2
)
MODULES = st.dictionaries(
    st.sampled_from(["text_decoder", "vision_tower"]),
    st.fixed_dictionaries(
        {}, optional={"models": SOURCES, "slices": SLICES, "parameters": SCOPES}
    ),
)
DOCUMENTS = st.fixed_dictionaries(
    {"merge_method": st.sampled_from(["linear", "slerp", "task_arithmetic", "ties"]) | VALUES},
    optional={
        "models": SOURCES,
        "slices": SLICES,
        "modules": MODULES,
        "base_model": MODELS,
        "parameters": SCOPES,
        "dtype": VALUES,
        "tokenizer": VALUES,
        "tokenizer_source": VALUES,
    },
)


@given(DOCUMENTS | VALUES)
@settings(max_examples=400)
def test_any_document_is_read_or_refused_in_a_sentence(document):
    assert is_refused_in_a_sentence(dump(document))
