"""The page in a headless Chromium."""

import pytest

from merit_opt.reporting.report import PAGE
from tests.browser import CHROMIUM, browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_fits_and_is_whole(shown, written, width, scheme):
    page = written / PAGE
    shown.open(page, width, scheme)
    shown.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert shown.ask("innerWidth") == width
    assert shown.ask("document.documentElement.scrollWidth") <= width
    assert shown.ask("document.images.length") > 10
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.alt)"
    assert shown.ask(broken) == []
    assert shown.ask("[...document.images].filter(i => !i.alt).length") == 0
    assert shown.complaints == []
    outside = [r for r in shown.requests if not r.startswith(("data:", page.as_uri()))]
    assert outside == []


def test_figures_follow_the_scheme(shown, written):
    chosen = []
    for scheme in ("light", "dark"):
        shown.open(written / PAGE, 390, scheme)
        chosen.append(shown.ask("document.querySelector('figure.drawn img').currentSrc"))
    assert chosen[0] != chosen[1]


def test_the_first_column_of_a_wide_table_stays_where_it_is_read(shown, written):
    shown.open(written / PAGE, 390)
    shown.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
    wide = "[...document.querySelectorAll('.scroll')].filter(s => s.scrollWidth > s.clientWidth)"
    assert shown.ask(f"{wide}.length") > 5
    shown.ask(f"{wide}.forEach(s => s.scrollLeft = 9999)")
    moved = "c.getBoundingClientRect().left - s.getBoundingClientRect().left"
    cells = f"{wide}.flatMap(s => [...s.querySelectorAll('td:first-child')].map(c => {moved}))"
    assert shown.ask(f"Math.max(...{cells}.map(Math.abs))") < 1
    share = "c.offsetWidth / s.clientWidth"
    cells = f"{wide}.flatMap(s => [...s.querySelectorAll('td:first-child')].map(c => {share}))"
    assert shown.ask(f"Math.max(...{cells})") < 0.5


def test_the_browser_sees_what_is_wrong(shown, tmp_path):
    page = tmp_path / "wrong.html"
    page.write_text(
        "<div style='width: 2000px'>x</div><img src='gone.png'><script>console.error(1)</script>"
    )
    shown.complaints.clear()
    shown.open(page, 390)
    assert shown.ask("document.documentElement.scrollWidth") > 390
    assert shown.ask("[...document.images].filter(i => !i.naturalWidth).length") == 1
    assert shown.complaints
    shown.complaints.clear()
    shown.requests.clear()
