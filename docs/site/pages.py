"""What the site shows beside docs/: README.md and all that pages link to in the repository.

Links are written for the repository, as a forge shows it. Here each becomes a link of the site: a page stays
a page, a folder is its README.md or the list of its pages, any other file a page with numbered lines.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
DOCS = REPO / "docs"
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")
FENCED = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINES = re.compile(r"(#L\d+)-L\d+")
RUN = re.compile(r"^```(\w+) run$", re.MULTILINE)
NESTED = re.compile(r"^ {2,3}(?=[-*] )", re.MULTILINE)
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
PICTURES = {".png", ".svg", ".jpg"}
NO_SEARCH = "---\ntitle: {title}\nsearch:\n  exclude: true\n---\n\n"


@dataclass(frozen=True)
class Shown:
    """Something of the repository that the site shows.

    Attributes:
        path: Where it is.
        address: Its source in the site, such as `trial.md` or `source/merit_opt/errors.py.md`.
    """

    path: Path
    address: str


def shown(path: Path) -> Shown | None:
    """How the site shows a file or folder; None of nothing, no pages, or outside the repository."""
    if not path.exists() or not path.is_relative_to(REPO):
        return None
    if path.is_dir():
        if not any(path.glob("*.md")):
            return None
        path = path / "README.md"
    inside = path.relative_to(DOCS if path.is_relative_to(DOCS) else REPO).as_posix()
    kept = path.suffix in {".md", *PICTURES}
    return Shown(path, inside if kept else f"source/{inside}.md")


def text_of(page: Shown) -> str:
    """The Markdown of a page of the site."""
    if page.path.suffix != ".md":
        return listing(page.path)
    return page.path.read_text() if page.path.exists() else contents(page.path.parent)


def contents(folder: Path) -> str:
    """The list of a folder's pages, by their titles."""
    titles = {p.name: TITLE.search(p.read_text()) for p in sorted(folder.glob("*.md"))}
    lines = [f"* [{found[1] if found else name}]({name})" for name, found in titles.items()]
    return "\n".join([f"# {folder.name.capitalize()}", "", *lines, ""])


def listing(path: Path) -> str:
    """A file of the repository with numbered lines, each with the anchor that a forge gives it.

    Of a file that is no text, how large it is.
    """
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import get_lexer_for_filename
    from pygments.util import ClassNotFound

    name = path.relative_to(REPO).as_posix()
    head = NO_SEARCH.format(title=path.name) + f"# `{name}`\n\n"
    try:
        text = path.read_text()
    except UnicodeDecodeError:
        return f"{head}{path.stat().st_size:,} bytes that are no text.\n"
    try:
        lexer = get_lexer_for_filename(path.name, stripnl=False)
        lines = highlight(text, lexer, HtmlFormatter(nowrap=True)).splitlines()
    except ClassNotFound:
        lines = escape(text).splitlines()
    numbered = "\n".join(
        f'<a class="line" id="L{i}" href="#L{i}">{i}</a>{line}' for i, line in enumerate(lines, 1)
    )
    return f'{head}<div class="source highlight"><pre><code>{numbered}\n</code></pre></div>\n'


def targets(page: Shown) -> Iterator[Shown]:
    """What a page links to."""
    if page.path.suffix != ".md":
        return
    for part in FENCED.split(text_of(page))[::2]:
        for found in LINK.finditer(part):
            if target := shown((page.path.parent / found[1]).resolve()):
                yield target


def reached(start: list[Shown]) -> dict[str, Shown]:
    """All that can be reached from some pages, by address."""
    found: dict[str, Shown] = {}
    waiting = list(start)
    while waiting:
        page = waiting.pop()
        if page.address not in found:
            found[page.address] = page
            waiting += targets(page)
    return found


def relinked(markdown: str, page: Shown) -> str:
    """A page's Markdown with the links of the site, and lists nested as its reader wants them."""

    def outside_code(change: Callable[[str], str]) -> str:
        parts = FENCED.split(markdown)
        return "".join(part if i % 2 else change(part) for i, part in enumerate(parts))

    def link(found: re.Match[str]) -> str:
        target = shown((page.path.parent / found[1]).resolve())
        if target is None:
            return found[0]
        anchor = LINES.sub(r"\1", found[2] or "")
        return os.path.relpath(target.address, Path(page.address).parent) + anchor

    def text(part: str) -> str:
        return NESTED.sub(" " * 4, LINK.sub(link, part))

    return RUN.sub(r"```\1", outside_code(text))


_pages: dict[str, Shown] = {}


def on_files(files: Any, config: Any) -> Any:
    """Add what lies outside docs/, and lists of folders."""
    from mkdocs.structure.files import File

    own = [Shown(DOCS / f.src_uri, f.src_uri) for f in files if f.src_uri.endswith(".md")]
    _pages.update(reached([Shown(REPO / "README.md", "README.md"), *own]))
    for address, page in _pages.items():
        if files.get_file_from_path(address) is None:
            content = page.path.read_bytes() if page.path.suffix in PICTURES else text_of(page)
            files.append(File.generated(config, address, content=content))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn a page's links into those of the site."""
    known = _pages[page.file.src_uri]
    return markdown if known.path.suffix != ".md" else relinked(markdown, known)
