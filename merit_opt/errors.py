"""The errors that cross a package border.

Every message says what was expected, what came, where, and what to do.
"""

import re
from collections.abc import Iterator

_BREAK = re.compile(r"[\s'\"]")
_USER = re.compile(r"[^\s/:@'\"]*:")
# What follows a colon where a port does: of such as http its end, of all others a host's alone.
_PORT = re.compile(
    r"\d{1,5}(?:[/?#]|$|[;,.)\]}]?\s(?!\S{0,80}@)|[;,.)]\s|['\"](?=[\s,;.:)\]}]|$))"
)
_HOST = re.compile(r"(?:\d+(?:\.\d+){3}|localhost):\d{1,5}(?:[/?'\"\s]|$)")
_NAMED = re.compile(
    r"([?&](?:\w*(?:password|passwd|secret|token|key)|user)=)"
    r"[^&\s#]+?(?=['\"\]),;}]{0,8}(?:[&\s#]|$))",
    re.IGNORECASE,
)


def without_credentials(text: str) -> str:
    """`text` with `USER:PASSWORD` of every address in it taken out, and `?password=` of its end.

    Where it may be either, words go too. It takes time in proportion to the text.
    """
    lines = (_anonymous(line) for line in text.split("\n"))
    return _NAMED.sub(r"\1…", "\n".join(lines))


def _anonymous(line: str) -> str:
    """A line without what stands between `//` and `@` of its addresses."""
    kept: list[str] = []
    done, start, last = 0, line.find("//"), line.rfind("@")
    bare = -1  # to where there is no @ from `start` on
    while -1 < start < last:
        begin = start + 2
        if begin > bare:
            ends = _BREAK.search(line, begin)
            stop = len(line) if ends is None else ends.start()
            at = line.rfind("@", begin, stop)
            bare = stop if at < 0 else begin
        else:
            at = -1
        if at < 0 and _has_password(line, begin):
            at = line.find("@", begin)
        if at > begin:
            kept += (line[done:start], "//…@")
            done = begin = at + 1
        while line.startswith("/", begin):
            begin += 1
        start = line.find("//", begin)
    return "".join((*kept, line[done:]))


def _has_password(line: str, begin: int) -> bool:
    """Whether a user and a colon begin there, and no host with its port."""
    user = _USER.match(line, begin)
    if user is None or _HOST.match(line, begin):
        return False
    is_web = line.endswith(("http:", "https:"), max(begin - 8, 0), begin - 2)
    return not (is_web and _PORT.match(line, user.end()))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what it was raised from, and so on to the first."""
    while error is not None:
        yield error
        error = error.__cause__


class UserError(Exception):
    """Something the user gave does not fit; told in one sentence, without a traceback."""


class PairMismatch(UserError):
    """The backbone is not the text model the VLM grew from."""


class TrialFailed(Exception):
    """One trial could not be measured; the study goes on and the trial never has a value."""
