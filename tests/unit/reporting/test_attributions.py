"""Folders of attribution tables, whole, torn and of others."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from merit_opt.reporting.attributions import read_attribution
from merit_opt.reporting.facts import Attribution

OURS = {"pair": "aaaa", "recipe": "bbbb"}
ROW = {"layer": 1, "part": "attention", "role": "TR", "difference": 0.1, "coefficient": 1.0}


def keep(folder, name, rows):
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / f"{name}.parquet")


def tell(folder, *methods, **provenance):
    entries = {m: {"provenance": provenance, "files": [f"{m}.parquet"]} for m in methods}
    runs = {"schema": 1, "methods": entries}
    (folder / "result.json").write_text(json.dumps(runs))


def test_a_folder_that_is_not_there_is_an_empty_attribution(tmp_path):
    assert read_attribution(tmp_path / "none", OURS) == Attribution()


def test_tables_of_layers_are_joined_with_their_method(tmp_path):
    keep(tmp_path, "scan", [ROW])
    keep(tmp_path, "gradient", [ROW])
    tell(tmp_path, "scan", "gradient", **OURS)
    found = read_attribution(tmp_path, OURS)
    assert [row["method"] for row in found.layers] == ["scan", "gradient"]
    assert found.refused == ()


def test_what_is_of_another_pair_is_left_out_and_told(tmp_path):
    keep(tmp_path, "scan", [ROW])
    tell(tmp_path, "scan", pair="cccc", recipe="bbbb")
    found = read_attribution(tmp_path, OURS)
    assert not found.layers
    assert "it is of pair cccc, and the study's is aaaa" in found.refused[0]


def test_a_torn_table_is_told_and_the_others_are_kept(tmp_path):
    keep(tmp_path, "gradient", [ROW])
    keep(tmp_path, "mask", [{"layer": 1}])
    (tmp_path / "scan.parquet").write_bytes(b"PAR1 torn")
    tell(tmp_path, "scan", "mask", "gradient", **OURS)
    found = read_attribution(tmp_path, OURS)
    assert [row["method"] for row in found.layers] == ["gradient"]
    assert len(found.refused) == 2
    assert any("no column" in why for why in found.refused)


def test_a_table_that_no_entry_lists_is_left_out_and_told(tmp_path):
    keep(tmp_path, "scan", [ROW])
    keep(tmp_path, "mask", [ROW])
    tell(tmp_path, "scan", **OURS)
    found = read_attribution(tmp_path, OURS)
    assert [row["method"] for row in found.layers] == ["scan"]
    assert [why.split(" is ")[0] for why in found.refused] == [str(tmp_path / "mask.parquet")]


@pytest.mark.parametrize("torn", [None, "{", "[]", '{"methods": {"scan": {}}}', '{"methods": 1}'])
def test_without_a_whole_result_nothing_is_shown_and_that_is_told(tmp_path, torn):
    keep(tmp_path, "scan", [ROW])
    if torn is not None:
        (tmp_path / "result.json").write_text(torn)
    found = read_attribution(tmp_path, OURS)
    assert not found.layers
    assert len(found.refused) == 1
    assert "result.json" in found.refused[0]
