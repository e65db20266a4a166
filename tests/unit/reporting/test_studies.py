"""How studies are told apart."""

import pytest

from merit_opt.reporting.studies import labels

LONG = "tiny-clips-layerwise-flips"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a-s0", "a-s1"], ["a-s0", "a-s1"]),
        ([f"{LONG}-s0", f"{LONG}-s1"], ["…s0", "…s1"]),
        (["tpe" + LONG[4:], "cmaes" + LONG[4:]], ["tpe…", "cmaes…"]),
        ([f"{LONG}-tpe-200-trials", f"{LONG}-cmaes-200-trials"], ["…tpe…", "…cmaes…"]),
        ([LONG], [f"…{LONG[-20:]}"]),
    ],
)
def test_a_long_name_is_told_by_what_it_does_not_share(names, told):
    assert list(labels(names).values()) == told


def test_names_that_fit_no_label_are_numbered():
    names = [f"{letter}{'x' * 30}" for letter in "abc"]
    found = labels(names)
    assert len(set(found.values())) == 3


def test_a_name_within_another_is_not_empty():
    found = labels([LONG, f"{LONG}-flips"])
    assert len(set(found.values())) == 2
    assert all(label.strip("…") for label in found.values())
