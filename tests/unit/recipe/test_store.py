import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.files import write_text
from merit_opt.recipe.constructors import attention, backbone, base, full, layer_swap, uniform
from merit_opt.recipe.origin import Named, Origin
from merit_opt.recipe.recipe import PARTS, to_json
from merit_opt.recipe.rules import DareLinear, Slerp, Ties, TiesByCount
from merit_opt.recipe.store import (
    NAMES,
    Form,
    form_or_file,
    named_recipe,
    read_origin,
    read_recipe,
    recipe_text,
    write_recipe,
)

RECIPE = attention(9, {3: 1.0, 5: 0.9})
coefficients = st.dictionaries(st.integers(0, 8), st.floats(0.0, 1.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recipes")


@given(coefficients)
def test_a_written_recipe_is_read_back(folder, merged):
    recipe = attention(9, merged)
    write_recipe(folder / "recipe.json", recipe)
    assert read_recipe(folder / "recipe.json") == recipe
    assert named_recipe(str(folder / "recipe.json"), 9, parts=PARTS) == recipe


def test_the_file_is_canonical_json_and_a_newline_in_folders_made_as_needed(tmp_path):
    path = tmp_path / "a" / "b" / "recipe.json"
    write_recipe(path, RECIPE)
    assert path.read_bytes() == to_json(RECIPE).encode() + b"\n"
    assert os.listdir(path.parent) == ["recipe.json"]


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("base", base(9)),
        ("backbone", backbone(9)),
        ("uniform:0.5", uniform(9, 0.5)),
        ("uniform:1", uniform(9, 1.0)),
        ("uniform:0", base(9)),
        ("full:.25", full(9, 0.25)),
        ("full:1", backbone(9)),
        ("uniform:0.3:slerp", uniform(9, 0.3, Slerp)),
        ("uniform:0.3:lerp", uniform(9, 0.3)),
        ("full:0.1:ties_by_count:1.8:0.2", full(9, 0.1, lambda c: TiesByCount(c, 1.8, 0.2))),
        ("full:0.5:dare_linear:1:0.5:0", full(9, 0.5, lambda c: DareLinear(c, 1.0, 0.5, 0))),
        ("full:0:ties:1:0.2", base(9)),
        ("layer_swap:6:0.1", layer_swap(9, 6, 0.1)),
        ("layer_swap:0:.5", full(9, 0.5)),
        ("layer_swap:8:1:ties:1:.2", layer_swap(9, 8, 1.0, lambda c: Ties(c, 1.0, 0.2))),
    ],
)
def test_a_name_stands_for_a_recipe(name, recipe):
    assert named_recipe(name, 9, parts=PARTS) == recipe


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bas", r"recipe=bas is no file and no known name; expected base, backbone, uniform:C"),
        ("base:1", r"recipe=base:1 is no file and no known name"),
        ("uniform", r"recipe=uniform is no file and no known name"),
        ("nowhere/recipe.json", r"recipe=nowhere/recipe.json is no file .* path to a recipe.json"),
        ("uniform:", r"recipe=uniform:: expected a number after the colon, got ''"),
        ("full:half", r"recipe=full:half: expected a number after the colon, got 'half'"),
        ("full", r"recipe=full is no file and no known name"),
        ("layer_swap", r"recipe=layer_swap is no file and no known name"),
        (
            "layer_swap:6",
            r"layer_swap:6: a coefficient is missing; expected layer_swap:FIRST:C\[:RULE\]$",
        ),
        ("layer_swap:0.5:1", r"expected the number of a layer after the colon, got '0\.5'; exp"),
        ("layer_swap:9:1", r"layers run from 0 to 8; got 9 for the first merged; expected layer"),
        (
            "full:0.1:ties:1",
            (
                r"recipe=full:0\.1:ties:1: ties takes 2 numbers after its name, ties:SCALE:DENSITY; "
                r"got 1; expected full:C\[:RULE\]$"
            ),
        ),
        ("uniform:0.1:slerp:1", r"slerp takes 0 numbers after its name, slerp; got 1"),
        ("uniform:0.1:dare_ties:1:1:0:0", r"dare_ties:SCALE:DENSITY:SEED; got 4; expected unif"),
        ("uniform:0.1:tie:1:1", r"there is no rule 'tie'; did you mean ties\? The rules are lerp"),
        ("uniform:0.1:", r"there is no rule ''; did you mean"),
        ("uniform:0.1:ties:1:x", r"expected a number after the colon, got 'x'; expected uniform"),
        (
            "uniform:0:ties:1:5",
            r"uniform:0:ties:1:5: a rule's density must lie in \(0, 1\], got 5",
        ),
        ("full:1:dare_linear:1:1:0.5", r"a rule's seed must be a whole number from 0 .* got 0\.5"),
        ("uniform:1.5", r"must lie in \(0, 1\], got 1\.5"),
        ("uniform:-0.5", r"must lie in \(0, 1\], got -0\.5"),
        ("full:nan", r"must lie in \(0, 1\], got nan"),
    ],
)
def test_a_name_that_stands_for_nothing_is_a_sentence(name, message):
    with pytest.raises(UserError, match=message):
        named_recipe(name, 9, parts=PARTS)


def test_the_names_say_every_form_and_every_rule():
    assert NAMES == (
        "base, backbone, uniform:C[:RULE], full:C[:RULE], layer_swap:FIRST:C[:RULE] (C in [0, 1], "
        "FIRST a layer, RULE one of lerp, slerp, task_arithmetic:SCALE, ties:SCALE:DENSITY, "
        "ties_by_count:SCALE:DENSITY, dare_linear:SCALE:DENSITY:SEED, "
        "dare_ties:SCALE:DENSITY:SEED) or a path to a recipe.json or to a folder that holds one"
    )


@pytest.mark.parametrize("parts", [(), ("attention",), ("attention", "norm"), PARTS])
def test_a_name_stands_for_the_parts_that_this_pair_can_merge(parts):
    assert named_recipe("backbone", 9, parts=parts) == backbone(9, parts=parts)
    assert named_recipe("full:0.5", 9, parts=parts) == full(9, 0.5, parts=parts)
    swapped = layer_swap(9, 2, 0.5, parts=parts)
    assert named_recipe("layer_swap:2:0.5", 9, parts=parts) == swapped
    assert named_recipe("uniform:0.5", 9, parts=parts) == uniform(9, 0.5)


def test_a_folder_stands_for_the_recipe_in_it(tmp_path):
    write_recipe(tmp_path / "merged" / "recipe.json", RECIPE)
    assert read_recipe(tmp_path / "merged") == RECIPE
    assert named_recipe(str(tmp_path / "merged"), 9, parts=PARTS) == RECIPE


def test_a_folder_without_a_recipe_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the recipe .*/recipe\.json: No such file"):
        named_recipe(str(tmp_path), 9, parts=PARTS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"recipe\.json: a recipe is JSON, but line 1"),
        (b"\xff\xfe\x00", r"recipe\.json: 'utf-8' codec can't decode"),
        (b'{"schema": 1}', r'recipe\.json: a recipe has an integer "n_layers"'),
    ],
)
def test_a_file_that_holds_no_recipe_is_named(tmp_path, content, message):
    path = tmp_path / "recipe.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_recipe(path)


PAIR = Origin(Named("vlm", "aaa"), Named("text", "bbb"), Named("ancestor", "ccc"))


@pytest.mark.parametrize("recipe", [RECIPE, full(9, 0.1, lambda c: Ties(c, 1.0, 0.2))])
def test_a_file_may_tell_the_pair_which_is_no_part_of_the_recipe(tmp_path, recipe):
    path = tmp_path / "recipe.json"
    write_recipe(path, recipe, PAIR)
    assert read_recipe(path) == read_recipe(tmp_path) == recipe
    known = read_origin(path)
    assert known == read_origin(tmp_path)
    assert (known.vlm, known.backbone) == (PAIR.vlm, PAIR.backbone)
    assert known.base == (PAIR.base if recipe.needs_base else None)
    write_recipe(path, recipe)
    assert read_origin(path) is None


def test_a_pair_is_the_same_where_all_that_both_tell_is():
    def pair(*digests):
        return Origin(*(None if d is None else Named("n", d) for d in digests))

    assert pair("a", "b", None).is_same(pair("a", "b", "c"))
    assert pair("a", "b", "c").is_same(pair("a", "b", "c"))
    assert Origin(Named("copy", "a"), Named("b", "b")).is_same(pair("a", "b", None))
    for other in (pair("x", "b", "c"), pair("a", "x", "c"), pair("a", "b", "x")):
        assert not pair("a", "b", "c").is_same(other)


@pytest.mark.parametrize(
    "pair", ['"tiny"', "[]", "{}", '{"vlm": {}}', '{"vlm": {"name": 1, "digest": "a"}}', "7"]
)
def test_a_pair_that_is_none_is_a_sentence(tmp_path, pair):
    path = tmp_path / "recipe.json"
    path.write_text(recipe_text(RECIPE).strip()[:-1] + f',"pair":{pair}}}')
    assert read_recipe(path) == RECIPE
    with pytest.raises(UserError, match=r'recipe\.json: a recipe\'s "pair" is \{"vlm"'):
        read_origin(path)


def test_a_pair_of_any_length_is_a_short_sentence(tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(recipe_text(RECIPE).strip()[:-1] + f',"pair":"{"x" * 10**6}"}}')
    with pytest.raises(UserError) as told:
        read_origin(path)
    assert len(str(told.value)) < len(str(path)) + 300


def test_a_form_is_one_whatever_files_there_are_and_else_a_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    forms = {"base": Form("base"), "uniform:0.5": Form("uniform", ("0.5",))}
    files = ("base:x", "uniform", "mine.json")
    for name in files:
        with pytest.raises(UserError, match=f"recipe={name} is no file and no known name"):
            form_or_file(name)
    for name in (*forms, *files):
        write_recipe(tmp_path / name, RECIPE)
    assert {name: form_or_file(name) for name in forms} == forms
    assert [form_or_file(name) for name in files] == [Path(name) for name in files]
    assert named_recipe("base", 9, parts=PARTS) == base(9)
    assert named_recipe("base:x", 9, parts=PARTS) == RECIPE


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"cannot read the recipe .*gone\.json: No such file"):
        read_recipe(tmp_path / "gone.json")


def test_a_place_below_a_file_is_a_sentence_and_leaves_nothing(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match=r"cannot write .*/file/deep/recipe\.json: "):
        write_recipe(file / "deep" / "recipe.json", RECIPE)
    assert os.listdir(tmp_path) == ["file"]
    assert file.read_text() == "mine"


def test_a_folder_of_that_name_is_a_sentence_and_leaves_nothing(tmp_path):
    (tmp_path / "recipe.json").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*/recipe\.json: Is a directory"):
        write_recipe(tmp_path / "recipe.json", RECIPE)
    assert os.listdir(tmp_path) == ["recipe.json"]


@pytest.mark.parametrize("place", ["os.replace", "pathlib.Path.write_bytes"])
@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "No space left on device"), (errno.EROFS, "Read-only file system")],
)
def test_a_full_or_read_only_disk_leaves_what_was_there(tmp_path, monkeypatch, place, code, words):
    path = tmp_path / "recipe.json"
    write_recipe(path, base(9))

    def refuse(*_args, **_options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(place, refuse)
    with pytest.raises(UserError, match=rf"cannot write .*/recipe\.json: {words}; free some"):
        write_recipe(path, RECIPE)
    assert os.listdir(tmp_path) == ["recipe.json"]
    assert read_recipe(path) == base(9)


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "recipe.json"
    write_recipe(path, base(9))
    seen = []

    def looking(source, target, replace=os.replace):
        seen.append((read_recipe(Path(target)), read_recipe(Path(source))))
        replace(source, target)

    monkeypatch.setattr("os.replace", looking)
    write_recipe(path, RECIPE)
    assert seen == [(base(9), RECIPE)]
    assert read_recipe(path) == RECIPE


def test_others_may_read_what_the_umask_lets_them_read(tmp_path):
    (tmp_path / "plain").write_text("x")
    write_text(tmp_path / "whole", "x")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_text_is_written_as_utf_8(tmp_path):
    write_text(tmp_path / "text", "größer ≥ 日本\n")
    assert (tmp_path / "text").read_bytes() == "größer ≥ 日本\n".encode()
