"""The command that makes a pair: what it says and what it returns."""

import pytest

from merit_opt.errors import UserError
from merit_opt.models.tiny import train
from merit_opt.models.tiny.making import Made
from merit_opt.models.tiny.marks import Mark, require
from merit_opt.models.tiny.measure import Accuracy

ASKED = []


class Making:
    """Stands for the making: remembers what was asked, and makes what it is told to."""

    def __init__(self, lineage, course, out, progress):
        ASKED.append((lineage, course, out))
        self._progress = progress

    def make(self):
        self._progress("backbone, chapter 1 of 1", 1, 2)
        self._progress("backbone, chapter 1 of 1", 2, 2)
        row = {"base": Accuracy(TR=0.61, TP=0.9), "restored": Accuracy(TR=0.98, TP=0.97)}
        return Made((), {"vlm_planted_4_6": row})


@pytest.fixture(autouse=True)
def stand_in(monkeypatch):
    monkeypatch.setattr(train, "Making", Making)
    ASKED.clear()


def test_the_options_are_the_lineage(tmp_path):
    told = ["--layers", "12", "--hidden", "104", "--seed", "5", "--out", str(tmp_path)]
    assert train.main([*told, "--plant", "6,4", "--plant", "7"]) == 0
    lineage, course, out = ASKED[0]
    assert (lineage.layers, lineage.hidden, lineage.seed) == (12, 104, 5)
    assert lineage.planted == ((4, 6), (7,))
    assert (course, out) == (train.FULL, tmp_path)


def test_the_table_says_tr_and_tp_of_every_merge(tmp_path, capsys):
    assert train.main(["--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "0.610 / 0.900" in said
    assert "0.980 / 0.970" in said
    assert "backbone, chapter 1 of 1: 2 of 2" in said
    assert "1 of 2" not in said


def test_a_refusal_is_one_sentence_and_a_failure(tmp_path, capsys, monkeypatch):
    def refuse(self):
        raise UserError("the backbone missed its mark")

    monkeypatch.setattr(Making, "make", refuse)
    assert train.main(["--out", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "error: the backbone missed its mark\n"


def test_a_layer_that_is_no_number_is_refused_by_the_parser(tmp_path, capsys):
    with pytest.raises(SystemExit):
        train.main(["--out", str(tmp_path), "--plant", "3,five"])
    assert "--plant" in capsys.readouterr().err


def test_marks_say_all_that_was_missed_and_nothing_else():
    marks = [Mark("TR", 0.5, 0.55, 0.7), Mark("TP", 0.8, 0.55, 0.7), Mark("tokens", 1.0, 0.99)]
    with pytest.raises(
        UserError,
        match=r"the VLM missed its mark: TR 0\.500, expected 0\.55 to 0\.7; TP 0\.800, expected",
    ) as refused:
        require("the VLM", marks)
    assert "tokens" not in str(refused.value)
    require("the VLM", marks[2:])
