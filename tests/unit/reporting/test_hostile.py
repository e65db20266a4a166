"""Whatever names, questions and reasons say, a report shows it as words."""

import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO, StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.reporting.facts import Evaluated, Flips
from merit_opt.reporting.page import page, table_tex
from merit_opt.reporting.report import compose
from merit_opt.reporting.style import Drawn, styled
from merit_opt.reporting.tables import Column, Table, latex, to_csv, to_markdown
from merit_opt.tracking import markdown, rows
from tests.reports import evaluation, facts, flip, result, study, trial, trials

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><style>@import url(//x)</style>",
    "</title></code></pre></figure><h1>",
    "{{ 7 * 7 }}{% include '/etc/passwd' %}<< 7 >><% set x = 1 %>",
    "&lt;script&gt;&#60;b>",
    "javascript:alert(1)",
    "]]> <!-- --> <![CDATA[",
    "\x00\x1b[2J\u202eevil\u2066",
    "$x_{$ \\input{/etc/passwd}",
    "=HYPERLINK(1)",
]
ADDRESSES = "https://x.example WWW.x.example (ftp://x) http://"


def said(words: str):
    """Facts in which everything that a stranger may have written is `words`."""
    failed = trial(
        99, trials()[4].recipe, state="FAIL", value=None, values=(), metrics={}, cost={}
    )
    told = (*trials(), replace(failed, why=words), replace(trials()[1], number=100, name=words))
    whole = study(told, name=words)
    whole = replace(whole, fingerprint={**whole.fingerprint, "engine": words})
    found = result(whole)
    found["remarks"] = [words]
    found["confirm"]["controls"][0]["name"] = words
    found["confirm"]["failed"] = {words: words}
    shown = replace(
        flip(1, words),
        sample=words,
        options=(("A", words), ("B", words)),
        right=words,
        answers={"base": words, "merged": words},
    )
    measured = evaluation("abcabcabcabc")
    measured["suite"]["name"] = words
    measured["searched_media"] = [{"name": words}]
    return replace(
        facts(),
        study=whole,
        result=found,
        flips=Flips((shown,), words),
        evaluations=(Evaluated(measured),),
        commands=dict.fromkeys(("search", "evaluate", "attribute", "resume"), words),
        versions={words: words},
        missing=(words,),
    )


class Shape(HTMLParser):
    """The tags of a page with the names of their attributes.

    But for whether a cell is short.
    """

    def __init__(self):
        super().__init__()
        self.tags = []

    def handle_starttag(self, tag, attrs):
        names = tuple(name for name, value in attrs if (name, value) != ("class", "short"))
        if (tag, names) != ("wbr", ()):  # where names may break
            self.tags.append((tag, names))

    def handle_comment(self, data):
        self.tags.append(("a comment", data))

    handle_decl = handle_comment
    handle_pi = handle_comment
    unknown_decl = handle_comment


def made(words: str) -> tuple[str, list]:
    report = compose(said(words))
    blank = {p.name: Drawn({}, {"light": ("png", b"PNG")}) for p in report.pictures}
    text, shape = page(report, blank), Shape()
    shape.feed(text)
    return text, shape.tags


@pytest.fixture(scope="module")
def plain():
    return made("plain")


@pytest.mark.parametrize("words", HOSTILE)
def test_a_page_has_the_tags_that_it_has_of_plain_words(plain, words):
    text, tags = made(words)
    assert plain[0].count("plain") > 20
    assert tags == plain[1]
    assert ("{{ 7 * 7 }}" in text) == ("{{ 7 * 7 }}" in words)


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("words", HOSTILE[9:11])
def test_a_figure_is_drawn_of_any_words(words):
    for picture in compose(said(words)).pictures:
        with styled("light"):
            picture.drawn().savefig(BytesIO(), format="png", dpi=40)


def table(words: str) -> Table:
    return Table("t", words, (Column("a", "a"), Column("b", "b")), ((words, words),), words)


@given(st.text() | st.sampled_from([*HOSTILE, "x\r=1", "\r", "x\r\n=1", "\n=1"]))
def test_a_cell_of_csv_is_no_formula(words):
    [row] = csv.DictReader(StringIO(to_csv(table(words)), newline=""))
    assert row["a"] == row["b"]
    lines = words.replace("\r\n", "\n").replace("\r", "\n")
    assert row["a"] in (lines, f"'{lines}")
    assert not row["a"].startswith(("=", "+", "-", "@", "\t", "\n"))


def test_a_number_of_csv_keeps_its_minus():
    whole = Table("t", "t", (Column("a", "a", "number"),), ((-0.5,),))
    assert to_csv(whole) == "a\n-0.5\n"


@given(
    st.text()
    | st.sampled_from(
        [*HOSTILE, "\\|", "a\\", "![x](//y)", "[x](javascript:1)", "``", ADDRESSES, "[a]: //x"]
    )
)
def test_a_table_of_markdown_keeps_its_cells_and_makes_nothing_of_them(words):
    told = to_markdown(table(words))
    cells = re.sub(r"\\.", "_", told)  # what is escaped
    [title, _, head, ruler, row, *_] = cells.split("\n")
    assert [line.count("|") for line in (head, ruler, row)] == [3, 3, 3]
    assert title.startswith("**")
    assert "<" not in cells
    assert not set("[]`*") & set(cells.replace(f"**{title.strip('*')}**", title.strip("*")))
    assert "://" not in cells
    assert "www." not in cells.lower()


def test_an_interval_of_markdown_is_as_it_is():
    assert markdown.plain("0.5 [0.4, 0.6]") == "0.5 [0.4, 0.6]"
    assert markdown.plain("[0.4, 0.6](//x)") == r"\[0.4, 0.6\](//x)"


COMMANDS = re.compile(r"\\(?:textbackslash|textasciicircum|textasciitilde|ldots)\{\}|\\[{}$&#%_]")
MATHS = re.compile(r"\$(?:<|>|\\cdot|\\lambda|\\rightarrow)\$")


@given(st.text() | st.sampled_from(HOSTILE))
def test_nothing_in_latex_is_a_command_that_was_not_written_here(words):
    rest = MATHS.sub("", COMMANDS.sub("", latex(words)))
    assert not set(rest) & set("\\{}$&#%_^~\n")
    assert table_tex(table(words)).count("\\input") == 0


@given(st.text() | st.sampled_from([*HOSTILE, "![x](//y)", "# a\n# b", ADDRESSES]))
def test_the_note_of_a_failed_trial_is_one_line_of_words(words):
    failed = replace(trials()[4], state="FAIL", why=words)
    [first, *_] = rows.note(failed).split("\n")
    bare = re.sub(r"\\.", "", first.removeprefix("**failed**:"))
    assert not set(bare) & set("<[]`*\\")
    assert "://" not in bare
    assert "www." not in bare.lower()
