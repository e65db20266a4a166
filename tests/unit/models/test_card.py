import re

import pytest
from huggingface_hub import ModelCard

from merit_opt.models.card import Lineage, Measured, Parent, delta_card, licence, model_card
from merit_opt.models.export import export_checkpoint
from merit_opt.models.merge import merge_of_recipe
from merit_opt.recipe.constructors import base as unmerged
from tests.unit.models.small import RECIPE, TASK_VECTORS, nothing, small_pair


def lineage(*licences, names=("acme/vlm", "acme/text", "acme/base")):
    parents = [
        Parent(name, "abc" if "/data/" not in name else None, f"{i}" * 12, one)
        for i, (name, one) in enumerate(zip(names, licences, strict=False))
    ]
    return Lineage(*parents, *[None] * (3 - len(parents)), dtype="bfloat16")


def facts(card):
    return ModelCard(card).data.to_dict()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("---\nlicense: apache-2.0\n---\n# Model", "apache-2.0"),
        ("---\nlicense: other\nlicense_name: qwen-research\n---\n", "other (qwen-research)"),
        ("---\nlicense: [mit, apache-2.0]\n---\n", "['mit', 'apache-2.0']"),
        ("\ufeff---\nlicense: mit\n---\n", "mit"),
        ("---\r\nlicense: mit\r\n---\r\n", "mit"),
        ("---\nlicense:\n---\n", "not stated"),
        ("---\ntags: [merge]\n---\n", "not stated"),
        ("---\n---\n", "not stated"),
        ("# Model\nlicense: mit\n", "not stated"),
        ("---\n- license\n---\n", "not stated"),
        ("---\nlicense: [unclosed\n---\n", "not stated"),
        ("---\nlicense: a: b: c\n\t- x\n---\n", "not stated"),
        ("", "not stated"),
        (b"\xff\xfe\xff", "not stated"),
        (None, "not stated"),
    ],
)
def test_a_licence_is_what_the_card_states(tmp_path, text, expected):
    if text is not None:
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / "README.md").write_bytes(content)
    assert licence(tmp_path) == expected


def test_a_card_in_a_folder_s_place_states_nothing(tmp_path):
    (tmp_path / "README.md").mkdir()
    assert licence(tmp_path) == "not stated"


@pytest.mark.parametrize(
    ("licences", "expected"),
    [
        (("apache-2.0", "apache-2.0"), "apache-2.0"),
        (("apache-2.0", "mit"), "other"),
        (("apache-2.0", "not stated"), "other"),
        (("not stated", "not stated"), "other"),
        (("mit", "mit", "apache-2.0"), "other"),
        (("other (qwen-research)", "other (qwen-research)"), "other"),
        (("['mit', 'apache-2.0']", "['mit', 'apache-2.0']"), "other"),
    ],
)
def test_the_merge_has_its_parents_licence_where_they_have_one(licences, expected):
    assert facts(model_card(RECIPE, lineage(*licences), (), "video"))["license"] == expected


def test_repositories_are_its_base_models_and_folders_are_not():
    told = facts(model_card(RECIPE, lineage("mit", "mit", "mit"), (), "video"))
    assert told["base_model"] == ["acme/vlm", "acme/text", "acme/base"]
    assert told["base_model_relation"] == "merge"
    names = ("/data/vlm", "acme/text")
    told = facts(model_card(RECIPE, lineage("mit", "mit", names=names), (), "video"))
    assert told["base_model"] == ["acme/text"]


@pytest.mark.parametrize("medium", ["video", "image"])
def test_its_task_is_of_the_medium_that_the_family_reads(medium):
    told = facts(model_card(RECIPE, lineage("mit", "mit"), (), medium))
    assert (told["pipeline_tag"], told["library_name"]) == (
        f"{medium}-text-to-text",
        "transformers",
    )


def test_a_delta_is_no_model_and_names_its_vlm_and_how_to_apply_it():
    card = delta_card(RECIPE, lineage("mit", "mit"), ())
    assert "pipeline_tag" not in facts(card)
    assert facts(card)["library_name"] == "merit_opt"
    assert "This is no model" in card
    assert "changes of **acme/vlm** at abc (digest `000000000000`)" in card
    assert (
        "\nmerit-opt export recipe=DELTA pair=custom pair.vlm=acme/vlm pair.revision=abc "
        "pair.dtype=bfloat16 out=FOLDER\n"
    ) in card
    names = ("/data/vlm", "acme/text")
    local = delta_card(RECIPE, lineage("mit", "mit", names=names), ())
    assert " pair.vlm=VLM pair.dtype=bfloat16 " in local


def test_it_tells_recipe_lineage_and_measurements():
    measured = [Measured("clips", "TR", 240, 0.61, 0.972, "+0.362 [0.29, 0.43]")]
    card = model_card(TASK_VECTORS, lineage("mit", "apache-2.0", "mit"), measured, "video")
    assert f"## Recipe `{TASK_VECTORS.digest}`" in card
    assert "| VLM | acme/vlm | abc | `000000000000` | mit |" in card
    assert "| text backbone | acme/text | abc | `111111111111` | apache-2.0 |" in card
    assert "| base | acme/base | abc | `222222222222` | mit |" in card
    assert "| clips | TR | 240 | 0.610 | 0.972 | +0.362 [0.29, 0.43] |" in card
    assert re.search(r"\| 6 \| ties\S* \|  \| lerp\S* \|", card)


def test_without_measurements_it_says_so():
    assert "Nothing was measured" in model_card(RECIPE, lineage("mit", "mit"), (), "video")


def test_nothing_merged_is_a_card_too():
    assert "0 of 9 decoder layers" in model_card(unmerged(9), lineage("mit", "mit"), (), "video")


def test_an_export_states_both_parents_licences_and_digests(tmp_path):
    source = small_pair(tmp_path)
    (tmp_path / "vlm" / "README.md").write_text("---\nlicense: apache-2.0\n---\nTheir words.")
    (tmp_path / "text" / "README.md").write_text("---\nlicense: mit\n---\n")
    merge = merge_of_recipe(source, RECIPE)
    measured = [Measured("clips", "TR", 240, 0.61, 0.972, "more")]
    export_checkpoint(source, merge, tmp_path / "out", measured, nothing)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Their words" not in card
    parents = merge.lineage.parents.values()
    assert [p.licence for p in parents] == ["apache-2.0", "mit"]
    assert {p.name for p in parents} == {"vlm", "text"}
    assert str(tmp_path) not in card
    assert all(f"| {p.name} |  | `{p.digest}` | {p.licence} |" in card for p in parents)
    assert "| clips | TR | 240 |" in card
    assert facts(card)["license"] == "other"
