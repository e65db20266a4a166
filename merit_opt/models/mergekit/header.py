"""The first lines of a mergekit file: what it is, and how to run it."""

import shlex
from collections.abc import Iterator
from textwrap import indent

from merit_opt.models.architecture import ACCEPTABLE
from merit_opt.models.mergekit.families import FAILS, VERSION
from merit_opt.models.source import PairSource
from merit_opt.recipe.recipe import Recipe


def warnings(model_type: str) -> Iterator[str]:
    """That mergekit cannot merge a family, where it cannot."""
    if model_type in FAILS:
        yield (
            f"mergekit {VERSION} cannot merge {model_type}: {FAILS[model_type]}. The file is a record "
            "that merit-opt reads again, recipe=mergekit:FILE; format=hf writes the checkpoint"
        )


def header(recipe: Recipe, source: PairSource, *, pair: str, file: str) -> str:
    """Comment lines.

    Args:
        recipe: What the file says.
        source: The pair.
        pair: What the command line says of the pair, such as `pair=NAME`.
        file: The file's path.
    """
    return indent("\n".join(_lines(recipe, source, pair, file)) + "\n", "# ")


def _lines(recipe: Recipe, source: PairSource, pair: str, file: str) -> Iterator[str]:
    yield (
        f"Recipe {recipe.digest} as a mergekit file (mergekit {VERSION}): how much of the backbone "
        "the VLM takes."
    )
    for warning in warnings(source.family.model_type):
        yield f"WARNING: {warning}."
    yield "To run it:"
    yield f"  merit-opt export recipe=full:1.0 {pair} out=pseudo_vlm"
    yield "  (point the second model below, the backbone, at pseudo_vlm)"
    if recipe.needs_base:
        yield f"  merit-opt export recipe=full:1.0 {pair} {_base(source)} out=pseudo_base"
        yield "  (point base_model at pseudo_base)"
    yield f"  mergekit-yaml {shlex.quote(file)} merged --copy-tokenizer"
    yield (
        "Why the first step: given a VLM and a text model, mergekit-yaml refuses them or silently "
        "drops\ntensors. pseudo_vlm is the VLM with the backbone's decoder layers. Check that "
        "merged holds as many\ntensors as the VLM."
    )


def _base(source: PairSource) -> str:
    """The base in the backbone's place; what decides how weights are used is free in it."""
    given = {
        "backbone": source.base,
        "backbone_revision": source.base_revision or "null",
        "accept": f"[{','.join(ACCEPTABLE)}]",
    }
    return " ".join(shlex.quote(f"pair.{key}={value}") for key, value in given.items())
