"""A pair small enough to ship, with a known answer planted in it; see `weights/PROVENANCE.md`."""

from difflib import get_close_matches
from pathlib import Path

from merit_opt.errors import UserError

WEIGHTS = Path(__file__).parent / "weights"


def tiny_names() -> tuple[str, ...]:
    """Names of the checkpoints that come with the package, sorted."""
    return tuple(sorted(path.parent.name for path in WEIGHTS.glob("*/config.json")))


def tiny_folder(name: str) -> Path:
    """The folder of a packaged checkpoint, or the user's own folder of that path.

    A packaged name wins over a folder of the same name: write ``./NAME`` for the folder.

    Raises:
        UserError: It is neither; the message names the nearest packaged one.
    """
    names = tiny_names()
    if name in names:
        return WEIGHTS / name
    if Path(name).is_dir():
        return Path(name)
    near = get_close_matches(name, names, n=1, cutoff=0.0)
    raise UserError(
        f"expected a tiny checkpoint ({', '.join(names)}) or an existing folder, got {name!r}; "
        f"did you mean {near[0]!r}?"
    )
