"""The embedded pair as a source: `pair=tiny`."""

from merit_opt.models.source import FolderOrId, PairSource, folder_pair
from merit_opt.models.tiny import tiny_folder

BACKBONE = "text"


def tiny_pair(*, vlm: FolderOrId, dtype: str | None) -> PairSource:
    """A tiny VLM, packaged or planted by the user, with the packaged text backbone.

    Args:
        vlm: A packaged checkpoint's name or a folder.
        dtype: Compute dtype by name; None = the stored one.

    Raises:
        UserError: No such checkpoint.
    """
    return folder_pair(tiny_folder(vlm), tiny_folder(BACKBONE), dtype)
