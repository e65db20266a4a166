"""Which versions of libraries are installed: they decide what is read and computed."""

from importlib.metadata import PackageNotFoundError, version


def library_version(library: str) -> str:
    """The installed version, or `absent`."""
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"
