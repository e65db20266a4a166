"""Every recipe of the final comparison, question by question; and on other suites."""

from dataclasses import replace

import pytest
from matplotlib.colors import to_rgba

from merit_opt.evaluation.comparison import mcnemar
from merit_opt.reporting.answers import by_role, mean_rows
from merit_opt.reporting.comparison import comparison
from merit_opt.reporting.figures.differences import Differences, draw_differences
from merit_opt.reporting.figures.matrix import Matrix, draw_matrix
from merit_opt.reporting.recipes import WINNER, against, rivals
from merit_opt.reporting.style import styled
from merit_opt.reporting.tables import NONE
from tests.reports import DRAWN, UNIFORM, answers, facts, result, study


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("merit_opt.evaluation.stats.RESAMPLES", 99)


def confirm():
    return result(study())["confirm"]


def blocks(found):
    return comparison(found).blocks


def table(found, name):
    (own,) = (b.table for b in blocks(found) if getattr(b, "table", None) and b.table.name == name)
    keys = [column.key for column in own.columns]
    return [dict(zip(keys, row, strict=True)) for row in own.shown]


def notices(found):
    return [b.words for b in blocks(found) if getattr(b, "tone", "") == "notice"]


def test_recipes_are_winner_fixed_controls_random_layers_together_and_one_by_one():
    names = [(one.name, one.is_shown) for one in rivals(confirm(), answers())]
    assert names == [
        (WINNER, True),
        ("uniform:0.5", True),
        ("random layers, mean of 2", True),
        ("random-layers/1", False),
        ("random-layers/2", False),
    ]


def test_a_control_is_paired_with_the_base_by_question():
    both = answers()
    control = next(r for r in rivals(confirm(), both) if r.name == "uniform:0.5")
    tr, _ = against(both.base, control, by_role, seed=0).groups
    sides = [
        {r["sample"]: r["value"] for r in rows if r["role"] == "TR"}
        for rows in (both.base, both.controls[UNIFORM])
    ]
    assert tr.mcnemar == mcnemar(*sides)
    expected = sum(sides[1].values()) / 24 - sum(sides[0].values()) / 24
    assert tr.difference.estimate == pytest.approx(expected)


def test_random_layers_count_with_the_mean_of_their_answers_and_no_test_of_single_ones():
    both = answers()
    together = next(r for r in rivals(confirm(), both) if r.is_mean)
    first, second = (both.controls[digest] for digest in DRAWN)
    means = {r["sample"]: r["value"] for r in together.rows}
    assert means == {
        a["sample"]: (a["value"] + b["value"]) / 2 for a, b in zip(first, second, strict=True)
    }
    assert all(g.mcnemar is None for g in against(both.base, together, by_role, seed=0).groups)
    row = next(r for r in table(facts(), "roles") if r["recipe"] == together.name)
    assert (row["gained"], row["lost"], row["mcnemar_p"]) == (NONE,) * 3
    assert row["verdict"] in ("significant", "not significant")


def test_a_question_that_one_draw_could_not_answer_has_no_mean():
    rows = [{"sample": "a", "value": 1.0}], [{"sample": "a", "value": None}]
    assert mean_rows(rows) == [{"sample": "a", "value": None}]


@pytest.mark.parametrize(
    ("name", "recipes"),
    [("roles", 5), ("category-kind", 3), ("roles-winner", 4)],
)
def test_every_recipe_is_in_every_table(name, recipes):
    assert len({row["recipe"] for row in table(facts(), name)}) == recipes


def test_the_winner_s_row_against_a_control_is_the_control_s_row_turned_round():
    both = answers()
    winner, uniform, *_ = rivals(confirm(), both)
    there = against(uniform.rows, winner, by_role, seed=0).groups
    back = against(winner.rows, uniform, by_role, seed=0).groups
    for one, other in zip(there, back, strict=True):
        assert one.difference.estimate == pytest.approx(-other.difference.estimate)
        assert (one.mcnemar.gained, one.mcnemar.lost) == (other.mcnemar.lost, other.mcnemar.gained)


def test_a_study_that_kept_no_answers_of_controls_says_what_is_not_known_and_how_to_add_it():
    old = replace(facts(), answers=replace(answers(), controls={}))
    (said,) = (words for words in notices(old) if "did not keep the answers" in words)
    assert "of any control" in said
    assert "remove result.json from its folder and give the search's command again" in said
    assert {row["recipe"] for row in table(old, "roles")} == {WINNER}
    uniform = next(r for r in table(old, "recipes") if r["recipe"] == "uniform:0.5")
    assert uniform["TR_gain"] == "+0.100"


def test_a_control_whose_answers_were_lost_is_named():
    both = answers()
    kept = {digest: rows for digest, rows in both.controls.items() if digest != UNIFORM}
    said = notices(replace(facts(), answers=replace(both, controls=kept)))
    assert any("did not keep the answers of uniform:0.5 question by question" in s for s in said)


def test_other_suites_tell_every_recipe_that_was_evaluated_there():
    rows = table(facts(), "held-out")
    assert [row["recipe"] for row in rows if row["questions"] == "TR"] == [WINNER, "uniform:0.5"]
    gone, kept = (row for row in rows if row["questions"] == "TR")
    assert gone["mcnemar_p"] == NONE != kept["mcnemar_p"]
    assert {row["recipe"] for row in table(facts(), "held-out-categories")} == {"uniform:0.5"}


def test_a_control_on_another_suite_is_not_taken_for_the_winner():
    control = replace(facts(), evaluations=facts().evaluations[1:], commands={"evaluate": "TYPE"})
    assert any("The winner was not evaluated on another suite" in s for s in notices(control))


@pytest.mark.parametrize("why", ["out of memory", "out of memory."])
def test_a_recipe_that_failed_is_told_with_one_full_stop(why):
    found = result(study())
    found = {**found, "confirm": {**found["confirm"], "failed": {"full:0.5": why}}}
    said = notices(replace(facts(), result=found))
    assert "full:0.5 could not be measured: out of memory." in said


def test_two_suites_of_one_name_are_told_apart():
    first, second = facts().evaluations
    suite = {"name": "other", "digest": "defdefdefdef"}
    again = replace(second, result={**second.result, "suite": suite})
    seen = [
        said for said in notices(replace(facts(), evaluations=(first, again))) if "saw" in said
    ]
    assert seen == [
        "Of suite other (abcabcabcabc) the search saw 1 media.",
        "Of suite other (defdefdefdef) the search saw 1 media.",
    ]


def test_marks_of_one_name_lie_on_one_line_beside_each_other():
    ends = {"estimates": (0.1, 0.2, 0.3, 0.4), "lows": (0.0,) * 4, "highs": (0.5,) * 4}
    names = {"names": ("a", "a", "b", "b"), "groups": ("TR", "TP") * 2, "unit": "x"}
    with styled("light"):
        figure = draw_differences(Differences(**ends, **names, verdicts=("not significant",) * 4))
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    heights = [float(m.get_ydata()[0]) for m in axis.lines if m.get_marker() in ("o", "D")]
    assert [round(h) for h in heights] == [0, 0, 1, 1]
    assert len(set(heights)) == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_matrix_writes_what_it_colours_and_frames_what_is_significant(scheme):
    cells = ((0.25, -0.003), (None, -0.5))
    marked = ((True, False), (False, True))
    with styled(scheme):
        figure = draw_matrix(Matrix(("x", "y"), ("one", "two, of 5"), cells, marked))
        axis = figure.axes[0]
        assert [t.get_text() for t in axis.texts] == ["+.25", "0", "\N{MINUS SIGN}.50"]
        bold = [t.get_fontweight() == "bold" for t in axis.texts]
        assert bold == [True, False, True]
        assert len(axis.patches) == 2
        assert [t.get_text() for t in axis.get_xticklabels()] == ["one", "two"]
        (mesh,) = axis.collections
        assert to_rgba(mesh.to_rgba(0.0)) == pytest.approx(
            to_rgba(figure.get_facecolor()), abs=0.01
        )
