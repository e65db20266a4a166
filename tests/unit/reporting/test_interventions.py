"""Panels and tables of what was measured on layers."""

import pytest

from merit_opt.attribution.contribution import contributions
from merit_opt.attribution.layer_sets import contrasts
from merit_opt.reporting.facts import Attribution
from merit_opt.reporting.interventions import panels, summary_tables
from merit_opt.reporting.tables import NONE

ROLES = ("TR", "TP")


def masks(model):
    return [
        {
            "variant": "zero",
            "model": model,
            "layer": layer,
            "part": "attention",
            "head_group": None,
            "role": role,
            "difference": -0.1 * layer,
            "low": -0.1 * layer - 0.01,
            "high": -0.1 * layer + 0.01,
            "p": 0.0001,
            "unit": "accuracy",
        }
        for layer in range(4)
        for role in ROLES
    ]


def sets(**counts):
    kinds = {"selected": 1, **counts}
    return [
        {
            "variant": "zero",
            "model": "merged",
            "part": "attention",
            "set": kind,
            "draw": draw,
            "role": role,
            "difference": -0.5 if kind == "selected" else -0.01 * draw,
            "unit": "accuracy",
        }
        for kind, count in kinds.items()
        for draw in range(count)
        for role in ROLES
    ]


def table(name, **summary):
    runs = {"methods": {"mask": {"summary": summary}}}
    tables = {t.name: t for t in summary_tables(Attribution(runs=runs))}
    return tables[f"attribution-{name}"]


def shown(found):
    keys = [column.key for column in found.columns]
    return [dict(zip(keys, row, strict=True)) for row in found.shown]


@pytest.mark.parametrize(("masked", "other"), [("base", "merged"), ("merged", "base")])
def test_a_model_that_was_not_masked_is_a_dash(masked, other):
    first, *_ = shown(table("contributions", contributions=contributions(masks(masked), 0)))
    assert first[masked] == "+0.150"
    assert (first[other], first["difference"]) == (NONE, NONE)


def test_sets_that_could_not_be_drawn_are_dashes():
    found = contrasts(sets(random=20))
    (row,) = shown(table("sets", sets=found))
    assert (row["unselected_TR"], row["unselected_p"]) == (NONE, NONE)
    assert row["random_p"] == "0.048"


def changed(method, layer, coefficient):
    place = {
        "method": method,
        "variant": "x",
        "model": "base",
        "layer": layer,
        "part": "attention",
    }
    return place | {"role": "TR", "difference": 0.1, "coefficient": coefficient}


def test_a_layer_left_out_is_drawn_whatever_its_own_coefficient():
    rows = [changed("leave_out", i, c) for i, c in ((3, 1.0), (5, 0.9), (7, 0.8))]
    ((_, panel),) = panels(rows)
    assert panel.series[0].layers == (3, 5, 7)


def test_a_scan_is_drawn_at_its_greatest_coefficient_and_says_which():
    ((_, panel),) = panels([changed("scan", i, c) for i in range(2) for c in (0.25, 0.5)])
    assert panel.series[0].layers == (0, 1)
    assert panel.title.endswith("at coefficient 0.5")
