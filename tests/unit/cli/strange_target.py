"""What a stranger would have called, of the tests' own."""

from typing import Any

noted: list[dict[str, Any]] = []


def note(**given: Any) -> dict[str, Any]:
    """Keep that it was called, and with what."""
    noted.append(given)
    return given
