"""The errors that cross a package border.

Every message says what was expected, what came, where, and what to do.
"""

import re
from collections.abc import Iterator

_CREDENTIALS = re.compile(r"//[^\s'\"]+@")


def without_credentials(text: str) -> str:
    """`text` with `USER:PASSWORD` of every address in it taken out."""
    return _CREDENTIALS.sub("//…@", text)


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
