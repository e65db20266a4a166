import json
from dataclasses import replace

import pytest

from merit_opt.attribution.method import Found, Shown
from merit_opt.attribution.result import RESULT, Provenance, Run, keep
from merit_opt.errors import UserError
from merit_opt.recipe.constructors import base
from tests.unit.attribution.conftest import RESTORED

RUN = Run(
    method="scan",
    settings={"coefficients": (1.0,)},
    seed=0,
    provenance=Provenance(
        "pair", RESTORED.digest, "clips", "confirm", "samples", "search", "0.1.0", "engine"
    ),
    n={"TR": 18, "TP": 12},
    seconds=1.23456,
    warnings=[],
)
FOUND = Found(
    tables={"scan": []},
    summary={"layers": []},
    shown=Shown("", (), ()),
    evaluations=3,
    failed={"layer 4": "why"},
)


def kept(folder, run=RUN, recipe=RESTORED):
    files = keep(folder, "r.json", recipe, run, FOUND)
    assert all(file.exists() for file in files)
    return json.loads((folder / RESULT).read_text())


def test_an_entry_says_what_was_run_on_what(tmp_path):
    found = kept(tmp_path / "new")
    assert found["schema"] == 1
    assert found["pair"] == "pair"
    assert found["recipe"]["digest"] == RESTORED.digest
    assert found["recipe"]["merged_layers"] == [3, 5]
    entry = found["methods"]["scan"]
    assert entry["provenance"]["split"] == "confirm"
    assert entry["settings"] == {"coefficients": [1.0]}
    assert (entry["evaluations"], entry["n"]) == (3, {"TR": 18, "TP": 12})
    assert (entry["failed"], entry["files"]) == ({"layer 4": "why"}, ["scan.parquet"])


def test_a_second_method_keeps_the_first_and_a_second_run_takes_its_place(tmp_path):
    kept(tmp_path)
    kept(tmp_path, replace(RUN, method="mask"))
    found = kept(tmp_path, replace(RUN, seed=1))["methods"]
    assert {name: entry["seed"] for name, entry in found.items()} == {"scan": 1, "mask": 0}


def test_entries_of_another_pair_or_recipe_are_dropped(tmp_path):
    kept(tmp_path)
    pair = replace(RUN.provenance, pair="other")
    assert kept(tmp_path, replace(RUN, method="mask", provenance=pair))["methods"].keys() == {
        "mask"
    }
    recipe = replace(pair, recipe=base(9).digest)
    found = kept(tmp_path, replace(RUN, provenance=recipe), base(9))
    assert found["methods"].keys() == {"scan"}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 0}', '{"schema": 1, "pair": "pair"}'])
def test_a_damaged_result_is_written_anew(tmp_path, text):
    (tmp_path / RESULT).write_text(text)
    assert kept(tmp_path)["methods"].keys() == {"scan"}


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file.*scan\.parquet"):
        kept(tmp_path / "file")
