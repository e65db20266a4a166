"""The table of a pair: its VLM as it is, merged alike everywhere, and with what was planted undone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from merit_opt.data.progress import Progress
from merit_opt.models.tiny.classroom import Clips
from merit_opt.models.tiny.damage import Damage
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

    def row(self, model: Any, clips: Clips, damage: Damage) -> dict[str, Accuracy]:
        """Base, merged alike everywhere by each of `UNIFORM`, and layers given back."""
        layers = range(len(self.backbone.layers))
        merges: dict[str, tuple[Iterable[int], float]] = {
            everywhere(c): (layers, c) for c in UNIFORM
        }
        merges |= {RESTORED: (damage.layers, 1.0)}
        merges |= {all_but(k): (set(damage.layers) - {k}, 1.0) for k in damage.layers}
        merges |= {decoy(k): ((k,), 1.0) for k in damage.natural_decoys}
        found = {BASE: self.measure(model, clips)}
        for done, (merge, (where, coefficient)) in enumerate(merges.items(), start=1):
            merged = restored(model, self.backbone, where, coefficient=coefficient)
            found[merge] = self.measure(merged, clips)
            if self.progress:
                self.progress(f"measuring {damage.name}", done, len(merges))
        return found


def everywhere(coefficient: float) -> str:
    """The merge of all layers alike."""
    return f"u {coefficient:g}"


def all_but(layer: int) -> str:
    """The merge that gives back every damaged layer except one."""
    return f"all but {layer}"


def decoy(layer: int) -> str:
    """The merge that gives back a natural decoy and nothing else."""
    return f"decoy {layer}"
