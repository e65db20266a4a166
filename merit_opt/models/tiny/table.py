"""The table of a pair: its VLM as it is, merged alike everywhere, and with what was planted undone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from merit_opt.data.progress import Progress
from merit_opt.models.tiny.classroom import Clips
from merit_opt.models.tiny.lessons import Writer
from merit_opt.models.tiny.measure import Accuracy, accuracy, restored
from merit_opt.models.tiny.packing import Prefix

UNIFORM = (0.25, 0.5, 0.75, 1.0)
BASE, RESTORED = "base", "restored"


@dataclass(frozen=True, eq=False, slots=True)
class Examiner:
    """Measures VLMs whose backbone is the same.

    Attributes:
        writer: Writes questions.
        prefix: Chat and video before them.
        backbone: Its language model.
        seed: Chooses questions.
        progress: Called with (stage, done, total).
    """

    writer: Writer
    prefix: Prefix
    backbone: Any
    seed: int
    progress: Progress | None

    def measure(self, model: Any, clips: Clips) -> Accuracy:
        """A language model on clips."""
        return accuracy(model, clips, writer=self.writer, prefix=self.prefix, seed=self.seed)

    def row(
        self, name: str, model: Any, clips: Clips, layers: Iterable[int]
    ) -> dict[str, Accuracy]:
        """Base, merged alike everywhere by each of `UNIFORM`, and `layers` given back."""
        everywhere = range(len(self.backbone.layers))
        merges = {f"u {c:g}": (everywhere, c) for c in UNIFORM} | {RESTORED: (layers, 1.0)}
        found = {BASE: self.measure(model, clips)}
        for done, (merge, (where, coefficient)) in enumerate(merges.items(), start=1):
            merged = restored(model, self.backbone, where, coefficient=coefficient)
            found[merge] = self.measure(merged, clips)
            if self.progress:
                self.progress(f"measuring {name}", done, len(merges))
        return found
