"""The errors that cross a package border.

Every message says what was expected, what came, where, and what to do.
"""


class UserError(Exception):
    """Something the user gave does not fit; told in one sentence, without a traceback."""


class PairMismatch(UserError):
    """The backbone is not the text model the VLM grew from."""


class TrialFailed(Exception):
    """One trial could not be measured; the study goes on and the trial never has a value."""
