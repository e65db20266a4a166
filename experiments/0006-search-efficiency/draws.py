"""Which pairs are planted; each is trained once and then found by what shapes it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from merit_opt.models.tiny import tiny_folder
from merit_opt.models.tiny.damage import Damage
from merit_opt.models.tiny.pair import BACKBONE
from merit_opt.models.tiny.plant import FULL, RESULT, SOURCE, Plan, plant

MADE = "planted/2"  # raise it with every change of planting that moves a bit


@dataclass(frozen=True, slots=True)
class Draw:
    """A seed, the damaged layers, and the decoys."""

    seed: int
    layers: tuple[int, ...]
    decoys: tuple[int, ...]

    @property
    def name(self) -> str:
        """As runs.csv names the pair."""
        damaged, decoys = ("_".join(map(str, chosen)) for chosen in (self.layers, self.decoys))
        return f"planted_{damaged}-decoys_{decoys}-s{self.seed}"

    @property
    def digest(self) -> str:
        """12 hex digits over all that shapes the weights, apart from the machine."""
        sources = [_weights_digest(tiny_folder(name)) for name in (SOURCE, BACKBONE)]
        facts = [MADE, asdict(self), asdict(FULL), sources]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


DRAWS = (
    Draw(1, (3, 5), (4, 7)),
    Draw(2, (4, 6), (3, 8)),
    Draw(3, (3, 6), (5,)),
    Draw(4, (5, 7), (4,)),
    Draw(5, (3, 4, 6), (7,)),
    Draw(6, (4, 5, 7), (3, 6)),
    Draw(7, (3, 5, 7), (4, 8)),
    Draw(8, (4, 7), (6,)),
    Draw(9, (3, 7), (5,)),
    Draw(10, (5, 6), (8,)),
    Draw(11, (3, 4), (6,)),
    Draw(12, (3, 6, 7), (5,)),
)


def planted_vlm(draw: Draw, folder: Path) -> Path:
    """The checkpoint of a draw, trained unless it lies in `folder` already: about 100 seconds."""
    out = folder / "vlms" / f"{draw.name}-{draw.digest}"
    if not (out / RESULT).exists():
        torch.set_num_threads(1)
        plan = Plan(Damage((draw.layers,), draw.decoys), seed=draw.seed)
        plant(plan, out=out, progress=None)
    return out


def _weights_digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
