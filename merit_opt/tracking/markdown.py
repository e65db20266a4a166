"""Words of anybody's in a text of Markdown."""

import re

# All but an interval such as [0.1, 0.2]; the last two are of addresses, which GitHub makes links of.
_SPECIAL = re.compile(
    r"(\[[-+\d.e]+, [-+\d.e]+\](?![(:\[]))|[\\`*\[\]<|&]|(?<=:)/(?=/)|(?<=www)\.", re.IGNORECASE
)
_ENTITIES = {"<": "&lt;", "&": "&amp;"}  # not every reader takes a backslash before them


def plain(words: str) -> str:
    """Words in a line, of which Markdown makes no HTML, link, picture, code or cell of a table.

    An address of mail alone may become a link.
    """
    return " ".join(_SPECIAL.sub(_escaped, words).split())


def _escaped(found: re.Match[str]) -> str:
    return found[1] or _ENTITIES.get(found[0], f"\\{found[0]}")
