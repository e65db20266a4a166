"""Families as the contract tests have them."""

from tests.contracts.conftest import clips, source, written

__all__ = ["clips", "source", "written"]
