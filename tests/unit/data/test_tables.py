import csv
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from merit_opt.data.tables import READERS, read_json, read_rows
from merit_opt.errors import UserError

ROWS = [{"a": "x", "b": 'say "no",\nthen go'}, {"a": "ä\t\u2028", "b": "7"}]
cells = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


def write(path, rows):
    match path.suffix:
        case ".json":
            path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
        case ".jsonl":
            lines = [json.dumps(row, ensure_ascii=False) for row in rows]
            path.write_text("\n".join([*lines, "", ""]), encoding="utf-8")
        case ".parquet":
            parquet.write_table(pa.Table.from_pylist(rows), path)
        case suffix:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, rows[0], delimiter="\t" if suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


@pytest.mark.parametrize("suffix", READERS)
def test_rows_come_back_in_order_with_commas_quotes_and_line_ends(tmp_path, suffix):
    path = tmp_path / f"table{suffix}"
    write(path, ROWS)
    assert list(read_rows(path)) == ROWS


@given(rows=st.lists(st.fixed_dictionaries({"a": cells, "b": cells}), min_size=1, max_size=4))
def test_every_kind_of_file_gives_the_same_rows(folder, rows):
    for suffix in READERS:
        write(folder / f"table{suffix}", rows)
        assert list(read_rows(folder / f"table{suffix}")) == rows


def test_a_suffix_may_be_in_capitals_and_a_file_may_begin_with_a_mark(tmp_path):
    (tmp_path / "table.CSV").write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n")
    (tmp_path / "table.json").write_bytes(b'\xef\xbb\xbf[{"a": 1}]')
    assert list(read_rows(tmp_path / "table.CSV")) == [{"a": "1", "b": "2"}]
    assert list(read_rows(tmp_path / "table.json")) == [{"a": 1}]


def test_lists_dicts_and_bytes_of_parquet_are_pythons_own(tmp_path):
    row = {"options": ["a", "b"], "image": {"bytes": b"\x89PNG", "path": None}, "n": 3}
    write(tmp_path / "table.parquet", [row])
    assert list(read_rows(tmp_path / "table.parquet")) == [row]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("table.json", b"[{", "cannot be read as JSON"),
        ("table.json", b'{"a": 1}', "expected a list of objects"),
        ("table.json", b"[1]", "expected a list of objects"),
        ("table.json", b"\xff\xfe[", "cannot be read as JSON"),
        ("table.json", b"[" * 100_000, "cannot be read as JSON"),
        ("table.jsonl", b'{"a": 1}\n[2]\n', "line 2 is not an object"),
        ("table.jsonl", b'{"a": 1}\n{"a"\n', "cannot be read as jsonl"),
        ("table.csv", b'a,b\n1,"2" 3\n', "cannot be read as csv"),
        ("table.csv", b"a,b\n1\n", "row 1 has not as many cells as the header"),
        ("table.tsv", b"a\tb\n1\t2\t3\n", "row 1 has not as many cells as the header"),
        ("table.parquet", b"PAR1 torn", "cannot be read as parquet"),
        ("table.parquet", b"", "cannot be read as parquet"),
        ("table.xlsx", b"", r"a table is one of .json, .*not '.xlsx'"),
    ],
)
def test_a_damaged_file_is_a_sentence_that_names_it(tmp_path, name, content, why):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}.*{why}"):
        read_rows(tmp_path / name)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match=r"gone.json cannot be read as JSON: .*No such file"):
        read_json(tmp_path / "gone.json")
