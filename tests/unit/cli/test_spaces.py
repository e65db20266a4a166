"""Search spaces from the command line: what they propose, and what is refused before weights load."""

import json
from pathlib import Path

import pytest

from merit_opt.models.source import PairSource
from merit_opt.recipe.recipe import from_json
from merit_opt.recipe.rules import Lerp, Slerp

# The nine controls that a study begins with, then three proposals.
MORE = "study.uniform=[] study.trials=5 study.random_layers=0 sampler=random pruner=none"


def proposed() -> list:
    """The recipes of a study's proposals, from its storage."""
    import optuna

    [name] = [path.name for path in Path("outputs/studies").iterdir()]
    study = optuna.load_study(study_name=name, storage="sqlite:///outputs/merit.db")
    trials = [t for t in study.trials if "control" not in t.user_attrs]
    return [from_json(json.dumps(json.loads(t.user_attrs["record"]["recipe"]))) for t in trials]


@pytest.mark.parametrize("space", ["layerwise", "merit", "grouped space.blocks=2", "smooth"])
def test_a_study_keeps_to_the_layers_and_parts_it_is_told(merit_opt, space):
    line = f"space={space} space.layers=[2,4..6,8] space.parts=[mlp,attention] space.rule=slerp"
    done = merit_opt(f"search @small {line} {MORE}")
    assert (done.code, done.err) == (0, "")
    recipes = proposed()
    assert len(recipes) == 3
    merged = {layer for recipe in recipes for layer in recipe.merged_layers}
    assert merged
    assert merged <= {2, 4, 5, 6, 8}
    for recipe in recipes:
        for layer in (recipe.layers[i] for i in recipe.merged_layers):
            assert isinstance(layer.attention, Slerp)
            assert (layer.mlp, layer.norm) == (layer.attention, None)


def test_a_study_of_a_few_layers_that_turns_on_fewer(merit_opt):
    assert merit_opt(f"search @small space.max_layers=1 space.parts=[mlp] {MORE}").code == 0
    for recipe in proposed():
        assert len(recipe.merged_layers) <= 1
        assert all(isinstance(recipe.layers[i].mlp, Lerp) for i in recipe.merged_layers)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("space.layers=[8..99]", "space.layers: this model's layers run from 0 to 8; got [9, 10,"),
        ("space.layers=[6..2]", "space.layers: expected a layer such as 3 or, the lower first,"),
        ("space.layers=2..6", "space.layers: expected a list, got '2..6'"),
        ("space.parts=[]", "space.parts and space.layers name at least one each"),
        ("space.parts=[head]", "space.parts: expected one of attention, mlp, norm, got 'head'"),
        ("space.max_layers=0", "space.max_layers is 1 or more"),
        ("space.rule=slurp", "space.rule=slurp: there is no rule 'slurp'; did you mean slerp"),
        ("space.rule=ties:1:0.2", "space=layerwise: the recipe subtracts the common ancestor"),
        ("space=grouped space.blocks=10", "space.blocks is 1 to 9"),
        ("space=smooth space.points=1", "space.points is 2 to 9"),
        ("space=uniform space.high=0", "expected 0 <= space.low < space.high <= 1"),
    ],
)
def test_what_the_model_cannot_have_is_refused_before_its_weights_load(
    merit_opt, loads, given, sentence
):
    done = merit_opt(f"search @small {given}")
    assert done.code == 2
    assert sentence in done.err
    assert loads == []
    assert not Path("outputs/merit.db").exists()


def test_a_part_that_the_pair_keeps_is_refused_before_weights_load(merit_opt, loads, monkeypatch):
    alignment = PairSource.alignment.func

    def attention_only(source: PairSource):
        from dataclasses import replace

        return replace(alignment(source), parts=("attention",))

    monkeypatch.setattr(PairSource, "alignment", property(attention_only))
    done = merit_opt("search @small space=merit space.parts=[attention,mlp]")
    assert (done.code, done.out.count("study ")) == (2, 1)
    assert done.err == (
        "merit-opt: space=merit: the recipe merges mlp in layer 0, which this pair keeps: it "
        "merges attention alone\n"
    )
    assert loads == []
    assert merit_opt(f"search @small space=merit {MORE}").code == 0
