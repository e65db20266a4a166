"""The errors that cross a package border.

Every message says what was expected, what came, where, and what to do.
"""

import re
from collections.abc import Iterator

# What stands before the @ of an address; a password may have quotes, and even spaces, in it.
_CREDENTIALS = re.compile(r"//(?:[^\s'\"]+|[^\s/:@'\"]*:(?!\d+(?!\w))[^\n@]+)@")
_NAMED = re.compile(
    r"([?&](?:\w*(?:password|passwd|secret|token|key)|user)=)[^&\s'\"#]+", re.IGNORECASE
)


def without_credentials(text: str) -> str:
    """`text` with `USER:PASSWORD` of every address in it taken out, and `?password=` of its end."""
    return _NAMED.sub(r"\1…", _CREDENTIALS.sub("//…@", text))


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
