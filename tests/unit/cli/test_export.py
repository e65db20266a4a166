"""`merit-opt export`: every format, and what each leads back to."""

import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from merit_opt.models.tiny import tiny_folder

WEIGHTS = "model.safetensors"


def test_a_checkpoint_loads_no_model(merit_opt, loads):
    done = merit_opt("export recipe=uniform:0.5 out=merged")
    assert (done.code, done.err, loads) == (0, "", [])
    assert "merged: recipe " in done.out
    assert "9 of 9 layers merged, 63 tensors changed, read back as computed" in done.out
    assert "next: AutoModelForImageTextToText.from_pretrained('merged')" in done.out


def test_a_delta_applied_again_is_the_checkpoint(merit_opt):
    assert merit_opt("export recipe=uniform:0.5 out=whole").code == 0
    done = merit_opt("export recipe=uniform:0.5 out=small format=delta")
    assert done.code == 0
    assert "next: merit-opt export recipe=small pair=" in done.out
    assert {p.name for p in Path("small").iterdir()} == {
        "README.md",
        "delta.safetensors",
        "delta.sha256",
        "merit_opt.json",
        "recipe.json",
    }
    size = Path("small/delta.safetensors").stat().st_size
    assert size < 0.3 * Path("whole", WEIGHTS).stat().st_size
    assert merit_opt("export recipe=small out=again").code == 0
    assert Path("again", WEIGHTS).read_bytes() == Path("whole", WEIGHTS).read_bytes()


def test_a_delta_of_another_vlm_is_refused(merit_opt):
    assert merit_opt("export recipe=uniform:0.5 out=small format=delta").code == 0
    done = merit_opt("export recipe=small out=again pair=tiny_3_6")
    assert done.code == 2
    assert re.search(r"small changes .*vlm_planted_3_5 \(\w{12}\), but .* is another", done.err)
    assert not Path("again").exists()


def test_a_delta_is_applied_by_its_readme_s_command_without_the_text_model(merit_opt):
    assert merit_opt("evaluate recipe=uniform:0.5 suite.clips=4").code == 0
    assert merit_opt("export recipe=uniform:0.5 out=whole").code == 0
    assert merit_opt("export recipe=uniform:0.5 out=small format=delta").code == 0
    (line,) = re.findall(r"^merit-opt (export .*)$", Path("small/README.md").read_text(), re.M)
    assert "pair.backbone" not in line
    vlm = tiny_folder("vlm_planted_3_5")
    line = line.replace("DELTA", "small").replace("=VLM", f"={vlm}").replace("FOLDER", "again")
    done = merit_opt(line)
    assert (done.code, done.err) == (0, "")
    assert {p.name: p.read_bytes() for p in Path("again").iterdir()} == {
        p.name: p.read_bytes() for p in Path("whole").iterdir()
    }
    assert "| clips | TR |" in Path("again/README.md").read_text()


def test_the_command_that_applies_a_delta_is_told_as_it_can_be_typed(merit_opt):
    vlm, text = tiny_folder("vlm_planted_3_5"), tiny_folder("text")
    pair = f"pair=custom pair.vlm={vlm} pair.backbone={text} pair.dtype=float32"
    done = merit_opt(f"export recipe=uniform:0.5 out=small format=delta {pair}")
    assert f"next: merit-opt export recipe=small {pair} out=FOLDER\n" in done.out


def test_a_delta_can_be_measured_as_a_recipe(merit_opt):
    assert merit_opt("export recipe=uniform:0.5 out=small format=delta").code == 0
    one, other = (
        merit_opt(f"evaluate recipe={recipe} suite.clips=4") for recipe in ("uniform:0.5", "small")
    )
    assert (one.code, other.code) == (0, 0)
    files = [re.findall(r"files: (\S+)", done.out) for done in (one, other)]
    assert files[0] == files[1]


@pytest.mark.parametrize("recipe", ["uniform:0.25", "full:0.5", "layer_swap:6:0.1:slerp"])
def test_a_mergekit_file_leads_back_to_the_recipe(merit_opt, recipe):
    done = merit_opt(f"export recipe={recipe} out=recipe.yml format=mergekit")
    assert (done.code, done.err) == (0, "")
    written = yaml.safe_load(Path("recipe.yml").read_text())
    assert written["merge_method"] == ("slerp" if "slerp" in recipe else "linear")
    told = re.search(r"^#   merit-opt (export .*)$", Path("recipe.yml").read_text(), re.MULTILINE)
    assert told
    assert told[1] == "export recipe=full:1.0 pair=tiny out=pseudo_vlm"
    assert merit_opt(told[1]).code == 0
    assert merit_opt(f"export recipe={recipe} out=one").code == 0
    assert merit_opt("export recipe=mergekit:recipe.yml out=other").code == 0
    assert Path("one", WEIGHTS).read_bytes() == Path("other", WEIGHTS).read_bytes()


def commands(file):
    return re.findall(r"^#   (merit-opt .*|mergekit-yaml .*)$", Path(file).read_text(), re.M)


def test_a_mergekit_file_names_the_pair_as_it_was_given_and_itself(merit_opt):
    vlm, text = (shutil.copytree(tiny_folder(n), n) for n in ("vlm_planted_3_5", "text"))
    pair = f"pair=custom pair.vlm={vlm} pair.backbone={text} pair.dtype=float32"
    assert merit_opt(f"export recipe=uniform:0.25 out=sub/r.yml format=mergekit {pair}").code == 0
    assert commands("sub/r.yml") == [
        f"merit-opt export recipe=full:1.0 {pair} out=pseudo_vlm",
        "mergekit-yaml sub/r.yml merged --copy-tokenizer",
    ]
    changed = f"{pair} pair.base={shutil.copytree(text, 'base')}"
    recipe = "uniform:0.25:task_arithmetic:1"
    assert merit_opt(f"export recipe={recipe} out='my r.yml' format=mergekit {changed}").code == 0
    first, base, last = commands("my r.yml")
    assert first == f"merit-opt export recipe=full:1.0 {changed} out=pseudo_vlm"
    assert last == "mergekit-yaml 'my r.yml' merged --copy-tokenizer"
    for line in (first, base):
        assert merit_opt(line.removeprefix("merit-opt ")).code == 0
    theirs = load_file("base/model.safetensors")
    made = load_file(Path("pseudo_base", WEIGHTS))
    name = "model.layers.3.self_attn.q_proj.weight"
    assert (made[name] == theirs[name].float()).all()


def test_a_family_that_mergekit_cannot_merge_is_told_on_the_terminal_and_in_the_file(
    merit_opt, monkeypatch
):
    warning = "mergekit 0.1.5 cannot merge qwen2_vl: it looks for num_hidden_layers at the top"
    done = merit_opt("export recipe=uniform:0.25 out=one.yml format=mergekit")
    assert f"\nwarning: {warning}" in done.out
    assert f"\n# WARNING: {warning}" in Path("one.yml").read_text()
    monkeypatch.setattr("merit_opt.models.mergekit.header.FAILS", {})
    done = merit_opt("export recipe=uniform:0.25 out=other.yml format=mergekit")
    assert "cannot merge" not in done.out + Path("other.yml").read_text()


def test_what_mergekit_cannot_say_is_refused(merit_opt):
    done = merit_opt(
        f"export recipe=uniform:0.25:ties_by_count:1:0.5 out=r.yml format=mergekit pair=custom "
        f"pair.vlm={tiny_folder('vlm_planted_3_5')} pair.backbone={tiny_folder('text')} "
        f"pair.base={tiny_folder('text')}"
    )
    assert done.code == 2
    assert "no mergekit file does ties_by_count" in done.err
    assert not Path("r.yml").exists()


def test_an_import_follows_the_pair_s_names_and_tells_which_model_it_took_for_which(merit_opt):
    assert merit_opt("export recipe=uniform:0.25 out=recipe.yml format=mergekit").code == 0
    document = yaml.safe_load(Path("recipe.yml").read_text())
    vlm, backbone = (one["model"] for one in document["models"])
    document["models"].reverse()
    del document["base_model"]
    Path("turned.yml").write_text(yaml.safe_dump(document))
    assert merit_opt("export recipe=mergekit:recipe.yml out=one").code == 0
    done = merit_opt("export recipe=mergekit:turned.yml out=other")
    assert done.code == 0
    assert f"turned.yml: {vlm} is taken for the VLM, {backbone} for its backbone\n" in done.out
    assert Path("one", WEIGHTS).read_bytes() == Path("other", WEIGHTS).read_bytes()


def test_a_mergekit_file_never_overwrites(merit_opt):
    Path("r.yml").write_text("mine")
    done = merit_opt("export recipe=uniform:0.25 out=r.yml format=mergekit")
    assert (done.code, Path("r.yml").read_text()) == (2, "mine")
    assert "r.yml exists; choose another out=" in done.err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read"),
        ("merge_method: [", "r.yml: "),
        ("merge_method: model_stock\nmodels: []\n", "model_stock"),
    ],
)
def test_a_mergekit_file_that_is_none_is_a_sentence(merit_opt, text, reason):
    if text is not None:
        Path("r.yml").write_text(text)
    done = merit_opt("export recipe=mergekit:r.yml out=x")
    assert done.code == 2
    assert reason in done.err
    assert "Traceback" not in done.err


def test_an_experiment_s_recipe_is_exported(merit_opt):
    experiment = "experiment=icml_llava_next_dart_prop_layer_swap pair=tiny"
    assert merit_opt(f"export {experiment} out=one").code == 0
    assert merit_opt("export recipe=layer_swap:6:0.1 out=other").code == 0
    assert Path("one", WEIGHTS).read_bytes() == Path("other", WEIGHTS).read_bytes()


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_path_may_begin_at_home(merit_opt, monkeypatch, tmp_path, quote):
    home = tmp_path / "ho me"
    shutil.copytree(tiny_folder("vlm_planted_3_6"), home / "vlm")
    monkeypatch.setenv("HOME", str(home))
    path = f"{quote}~/{{}}{quote}".format
    line = f"export recipe=uniform:0.5 'pair.vlm={path('vlm')}' 'out={path('merged')}'"
    done = merit_opt(line)
    assert (done.code, done.err) == (0, "")
    assert (home / "merged" / WEIGHTS).is_file()
    assert not Path("~").exists()


def test_an_unknown_format_is_refused(merit_opt):
    done = merit_opt("export recipe=base out=x format=gguf")
    assert (done.code, done.err) == (
        2,
        "merit-opt: format is one of hf, delta, mergekit; got 'gguf'\n",
    )


def test_a_rule_of_task_vectors_wants_a_base(merit_opt, loads):
    done = merit_opt("export recipe=uniform:0.3:ties:1:0.2 out=x")
    assert done.code == 2
    assert "give it, pair.base=FOLDER_OR_ID" in done.err
    assert merit_opt("evaluate recipe=uniform:0.3:dare_linear:1:0.5:0 suite.clips=4").code == 2
    assert loads == []


def test_a_rule_of_task_vectors_merges_with_one(merit_opt):
    base = shutil.copytree(tiny_folder("text"), "base")
    pair = (
        f"pair=custom pair.vlm={tiny_folder('vlm_planted_3_5')} pair.dtype=float32 "
        f"pair.backbone={tiny_folder('vlm_planted_3_5')} pair.base={base}"
    )
    refused = merit_opt(f"export recipe=uniform:0.3:ties:1:0.2 out=x {pair}")
    assert refused.code == 2
    assert "pairs with qwen2, but" in refused.err
    pair = pair.replace(f"pair.backbone={tiny_folder('vlm_planted_3_5')}", f"pair.backbone={base}")
    assert merit_opt(f"export recipe=uniform:0.3:task_arithmetic:1 out=one {pair}").code == 0
    assert merit_opt(f"export recipe=uniform:0.3 out=other {pair}").code == 0
    one, other = (load_file(Path(out, WEIGHTS)) for out in ("one", "other"))
    assert all((one[name] - other[name]).abs().max() < 1e-6 for name in one)


def test_the_card_tells_what_was_measured(merit_opt):
    assert merit_opt("evaluate recipe=uniform:0.5 suite.clips=4").code == 0
    assert merit_opt("export recipe=uniform:0.5 out=merged").code == 0
    card = Path("merged/README.md").read_text()
    facts = json.loads(Path("merged/merit_opt.json").read_text())
    assert facts["recipe"] in card
    assert facts["made_of"]["vlm"]["digest"] in card
    assert re.search(r"^\| clips \| TR \| \d+ \| 0\.\d{3} \| 0\.\d{3} \|", card, re.M)


def test_what_was_measured_on_another_pair_is_not_told(merit_opt):
    assert merit_opt("evaluate recipe=uniform:0.5 suite.clips=4 pair=tiny_3_6").code == 0
    torn = Path("outputs/evaluations/tiny-x-clips-y-" + "0" * 12)
    torn.mkdir(parents=True)
    (torn / "result.json").write_text('{"suite": ')
    assert merit_opt("export recipe=uniform:0.5 out=merged").code == 0
    assert "Nothing was measured" in Path("merged/README.md").read_text()
    assert merit_opt("evaluate recipe=uniform:0.5 suite.clips=4").code == 0
    assert merit_opt("export recipe=uniform:0.5 out=merged").code == 0
    assert "| clips | TR |" in Path("merged/README.md").read_text()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"pair": 3}', '{"best": null}'])
def test_a_result_of_another_form_is_passed_over(tmp_path, content):
    from merit_opt.cli.measured import measured_rows
    from merit_opt.cli.parts import Outputs

    for folder in ("studies/s", f"evaluations/tiny-x-clips-y-{'0' * 12}"):
        path = tmp_path / folder / "result.json"
        path.parent.mkdir(parents=True)
        path.write_text(content)
    assert measured_rows(Outputs(tmp_path), "study:s", "0" * 12, "p") == []
