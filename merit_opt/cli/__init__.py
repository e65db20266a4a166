"""The command line: configurations come in here and leave as plain objects."""

from pathlib import Path


def conf_dir() -> Path:
    """The folder of option files, beside the package in a checkout and inside it once installed.

    Raises:
        RuntimeError: Neither place holds them.
    """
    package = Path(__file__).resolve().parent.parent
    places = (package / "conf", package.parent / "conf")
    for place in places:
        if (place / "search.yaml").is_file():
            return place
    raise RuntimeError(
        f"expected search.yaml in {places[0]} or {places[1]} and found neither; "
        "install merit-opt again"
    )
