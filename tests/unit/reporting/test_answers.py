"""Samples compared by role and category."""

import pytest

from merit_opt.evaluation.comparison import mcnemar
from merit_opt.reporting.answers import (
    by_category,
    by_role,
    category_fields,
    compared,
    exclusions,
    flipped,
    gained_lost,
)
from merit_opt.reporting.facts import Answers
from tests.reports import answers


@pytest.fixture(autouse=True)
def _few_resamples(monkeypatch):
    monkeypatch.setattr("merit_opt.evaluation.stats.RESAMPLES", 99)


def test_groups_are_compared_over_the_samples_that_both_sides_scored():
    tr, tp = compared(answers(), by_role, seed=0)
    assert (tr.name, tr.difference.n, tp.name, tp.difference.n) == ("TR", 24, "TP", 11)
    assert tr.merged - tr.base == pytest.approx(tr.difference.estimate)
    assert tr.mcnemar.gained - tr.mcnemar.lost == round(24 * tr.difference.estimate)


def test_mcnemar_is_that_of_the_evaluation():
    (tr, _) = compared(answers(), by_role, seed=0)
    sides = [
        {r["sample"]: r["value"] for r in rows if r["role"] == "TR"}
        for rows in (answers().base, answers().merged)
    ]
    assert tr.mcnemar == mcnemar(*sides)


def test_categories_are_told_by_role_tr_first():
    names = [g.name for g in compared(answers(), by_category("kind"), seed=0)]
    assert names == ["TR: tr1", "TR: tr2", "TP: tp1"]


def test_a_field_that_names_every_sample_or_only_one_kind_is_no_category():
    both = answers()

    def with_more(rows):
        return [
            {**r, "categories": {**r["categories"], "id": r["sample"], "one": "x"}}
            for r in [{**r, "sample": f"{i}{r['sample']}"} for i in range(2) for r in rows]
        ]

    more = Answers(with_more(both.base), with_more(both.merged))
    assert category_fields(more) == ("kind",)


def test_what_became_right_comes_first_and_every_change_is_counted():
    pairs = flipped(answers())
    gains = [b["value"] - a["value"] for a, b in pairs]
    assert gains == sorted(gains, reverse=True)
    assert gained_lost(answers()) == (gains.count(1.0), gains.count(-1.0), gains.count(0.0))
    assert gained_lost(answers())[:2] == (3, 1)


def test_what_was_left_out_is_counted_by_reason():
    assert exclusions(answers()) == {"media truncated": 3, "not scored: left out": 1}
