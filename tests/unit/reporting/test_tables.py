"""One table in three forms."""

import csv
import math
from dataclasses import replace
from io import StringIO

import pytest

from merit_opt.reporting.page import pieces, table_tex
from merit_opt.reporting.tables import (
    NONE,
    Column,
    Estimate,
    Table,
    latex,
    p_text,
    text,
    to_csv,
    to_markdown,
)

COLUMNS = (
    Column("name", "who & what"),
    Column("gain", "gain", "signed"),
    Column("p", "p", "p"),
    Column("n", "n", "count"),
)
TABLE = Table(
    name="t",
    title="50 % of a_b",
    columns=COLUMNS,
    rows=(
        ("a|b <i>", Estimate(1 / 3, -0.25, 0.5), 0.00001, 12345),
        ("50 % & $x_1$", -0.5, None, None),
    ),
    note="See #1.",
)


def test_csv_has_numbers_in_full_and_the_ends_of_intervals_in_columns_of_their_own():
    first, second = csv.DictReader(StringIO(to_csv(TABLE)))
    assert float(first["gain"]) == 1 / 3
    assert (float(first["gain_low"]), float(first["gain_high"])) == (-0.25, 0.5)
    assert (second["gain"], second["gain_low"], second["p"]) == ("-0.5", "", "")
    assert first["name"] == "a|b <i>"


def test_markdown_keeps_its_cells_apart_and_makes_no_html():
    lines = to_markdown(TABLE).splitlines()
    row = next(line for line in lines if "12,345" in line)
    assert row == r"| a\|b &lt;i> | +0.333 [-0.250, +0.500] | < 0.0001 | 12,345 |".replace(
        "| < 0", "| &lt; 0"
    )
    assert lines[3] == "| --- | ---: | ---: | ---: |"


def test_latex_is_booktabs_with_every_special_character_escaped():
    found = table_tex(TABLE)
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lrrr}"):
        assert rule in found
    assert r"50 \% \& \$x\_1\$ & $-$0.500 & $-$ & $-$ \\" in found
    assert r"a|b $<$i$>$ & +0.333 [$-$0.250, +0.500] & $<$ 0.0001 & 12,345 \\" in found
    assert r"\caption{50 \% of a\_b. See \#1.}" in found


def test_a_table_of_more_than_a_page_breaks_and_repeats_its_head():
    found = table_tex(replace(TABLE, rows=TABLE.rows * 31))
    assert r"\begin{tabular}" not in found
    assert found.count(r"\begin{longtable}{lrrr}") == found.count(r"\end{longtable}") == 1
    assert found.index(r"\label{tab:t} \\") < found.index(r"\endfirsthead")
    assert found.count(r"who \& what & gain & p & n \\") == 2
    assert found.count(r"& 12,345 \\") == 31
    assert "\n\n" not in found.strip()


def test_latex_escapes_a_backslash_once():
    assert latex("\\{") == r"\textbackslash{}\{"


@pytest.mark.parametrize("cell", [None, math.nan, math.inf])
def test_what_is_unknown_is_never_a_number(cell):
    assert text(cell, "share") == NONE


def test_a_name_breaks_after_what_joins_its_words():
    assert pieces("TR: nth_from_end") == ["TR: nth_", "from_", "end"]
    assert pieces("occlusion, mean") == ["occlusion, mean"]


def test_a_p_value_is_not_smaller_than_the_resamples_can_tell():
    assert (p_text(0.0), p_text(0.0004), p_text(1.0)) == ("< 0.0001", "0.0004", "1")


@pytest.mark.parametrize(
    ("p", "told"),
    [
        (0.0496, "0.0496"),
        (0.0502, "0.0502"),
        (0.04999, "0.04999"),
        (0.05, "0.05"),
        (0.054, "0.054"),
    ],
)
def test_a_p_value_near_the_level_says_on_which_side_of_it_it_lies(p, told):
    assert p_text(p) == told
