"""Names of a VLM's tensors, and mergekit files about them."""

import textwrap

import yaml
from hypothesis import strategies as st

from merit_opt.models.mergekit.names import NamedTensor
from merit_opt.models.mergekit.read import from_mergekit
from merit_opt.models.mergekit.roles import Roles
from merit_opt.models.mergekit.write import to_mergekit
from merit_opt.recipe.recipe import LayerMerge, Recipe

INSIDE = {
    "self_attn.q_proj.weight": "attention",
    "self_attn.q_proj.bias": "attention",
    "self_attn.o_proj.weight": "attention",
    "mlp.up_proj.weight": "mlp",
    "mlp.down_proj.weight": "mlp",
    "input_layernorm.weight": "norm",
    "post_attention_layernorm.weight": "norm",
}
QWEN = "model.layers."
LLAVA = "language_model.model.layers."
OTHERS = {
    QWEN: (
        "model.embed_tokens.weight",
        "model.norm.weight",
        "lm_head.weight",
        "visual.patch_embed.proj.weight",
        "visual.blocks.1.attn.qkv.weight",
        "visual.blocks.1.mlp.up_proj.weight",
        "visual.merger.mlp.0.weight",
    ),
    LLAVA: (
        "image_newline",
        "language_model.lm_head.weight",
        "language_model.model.embed_tokens.weight",
        "language_model.model.norm.weight",
        "multi_modal_projector.linear_1.weight",
        "vision_tower.vision_model.encoder.layers.1.self_attn.q_proj.weight",
        "vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight",
    ),
}
PAIR = Roles("./VLM", "./LLM", "./BASE")
GIVEN = {"pair": PAIR, "dtype": "bfloat16"}
DEPTH = 4


def tensors(n_layers=DEPTH, prefix=QWEN):
    return [
        NamedTensor(f"{prefix}{i}.{name}", i, part)
        for i in range(n_layers)
        for name, part in INSIDE.items()
    ]


def imported(text, prefix=QWEN, n_layers=DEPTH, pair=PAIR):
    return from_mergekit(text, tensors(n_layers, prefix), OTHERS[prefix], n_layers, pair)


def read(text, prefix=QWEN, n_layers=DEPTH, pair=PAIR):
    return imported(text, prefix, n_layers, pair).recipe


def write(recipe, prefix=QWEN, **changes):
    given_here = {**GIVEN, "others": OTHERS[prefix], **changes}
    return to_mergekit(recipe, tensors(len(recipe.layers), prefix), **given_here)


class WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data):
        return True


def dump(document):
    return yaml.dump(document, Dumper=WithoutAliases, sort_keys=False)


def linear(vlm, backbone, top=""):
    text = f"""
        merge_method: linear
        {top}
        models:
          - {{model: VLM, parameters: {{weight: {vlm}}}}}
          - {{model: LLM, parameters: {{weight: {backbone}}}}}
        """
    return textwrap.dedent(text)


ATTENTION = "[{{filter: layers., value: {0}}}, {{value: {1}}}]"


SHARES = st.floats(0.0, 1.0, exclude_min=True)
SCALES = st.floats(1e-3, 10.0)


def recipes_of(kind, *others, most=13):
    rules = st.none() | st.builds(kind, SHARES, *others)
    layers = st.lists(st.builds(LayerMerge, rules, rules, rules), min_size=1, max_size=most)
    return layers.map(lambda found: Recipe(tuple(found)))


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
