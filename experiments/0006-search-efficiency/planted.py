"""Tiny VLMs whose damaged layers are known, with decoys: made once, then measured fast.

python experiments/0006-search-efficiency/planted.py [--folder outputs/planted] [--draws 0,1]
makes them, checks the measurements against the engine, and writes planted_pairs.json.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from batched import Batched

from merit_opt.data.clips.suite import clips_suite
from merit_opt.data.media.decode_pool import MediaSettings
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Role, Suite
from merit_opt.evaluation.evaluation import Evaluation, Measure, role_means
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.prepare import Preparer
from merit_opt.evaluation.scorers import PACKED
from merit_opt.evaluation.stats import Difference, paired_difference
from merit_opt.files import write_bytes
from merit_opt.models.features import FeatureStore
from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair
from merit_opt.models.source import FolderOrId
from merit_opt.models.tiny import tiny_folder
from merit_opt.models.tiny.pair import BACKBONE, tiny_pair
from merit_opt.models.tiny.plant import FULL, RESULT, SOURCE, plant
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.priors import Prior, Source

FOLDER = Path("outputs/planted")
MADE = "planted/1"  # raise it with every change of planting that moves a bit
MEASURED = "batched/1"  # raise it with every change of measuring that moves a bit
MEDIA = MediaSettings(1, 120.0, 512, "auto")
FEATURE_BYTES = 2 * 1024**3
TR_PER_CLIP, TP_PER_CLIP = 3, 2
SEARCH_CLIPS, HELD_OUT_CLIPS = 80, 250
SEARCH_SEED, HELD_OUT_SEED = 1000, 2000
KEPT = {SEARCH_CLIPS: 80, HELD_OUT_CLIPS: 8}
COEFFICIENTS = (0.5, 0.75, 1.0)
UNIFORM = (0.1, 0.25, 0.5, 0.75, 1.0)
PENALTY = 2.0
SMOOTH: Measure = "probability"
STEP = 1e-2
GRADIENT_BILL = 4.0


@dataclass(frozen=True, slots=True)
class Draw:
    """What is planted: a seed, the damaged layers, and the decoys."""

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
)


def planted_vlm(draw: Draw, folder: Path) -> Path:
    """The checkpoint of a draw, trained unless it lies in `folder` already."""
    out = folder / "vlms" / f"{draw.name}-{draw.digest}"
    if not (out / RESULT).exists():
        torch.set_num_threads(1)
        plant(layers=draw.layers, decoys=draw.decoys, seed=draw.seed, out=out, progress=None)
    return out


class Planted:
    """The testbed of one planted pair; see `testbed.Testbed`.

    Args:
        draw: Which one.
        folder: Where checkpoints, clips, features and answers are kept; safe to delete.
    """

    name = "planted"

    def __init__(self, draw: Draw, folder: Path = FOLDER) -> None:
        self.draw = draw
        self.pair = draw.name
        self.useful: frozenset[int]
        self.decoys = frozenset(draw.decoys)
        self._folder = folder
        self._vlm = planted_vlm(draw, folder)
        self._known: dict[tuple[str, str], Evaluation] = {}

    @cached_property
    def live(self) -> ModelPair:
        """The loaded pair, in float32, on one thread."""
        torch.set_num_threads(1)
        return tiny_pair(vlm=FolderOrId(str(self._vlm)), dtype="float32").load("cpu", "device")

    @property
    def n_layers(self) -> int:
        """Decoder layers."""
        return len(self.planting["distance"])

    @cached_property
    def planting(self) -> Mapping[str, Any]:
        """What planting wrote down."""
        return json.loads((self._vlm / RESULT).read_text())

    @cached_property
    def suite(self) -> Suite:
        """The search samples: 240 TR and 160 TP questions about 80 clips."""
        return self._clips(SEARCH_CLIPS, SEARCH_SEED)

    @cached_property
    def held_out_suite(self) -> Suite:
        """750 TR and 500 TP questions about 250 other clips."""
        return self._clips(HELD_OUT_CLIPS, HELD_OUT_SEED)

    def measure(self, recipe: Recipe) -> Evaluation:
        """Answers on the search samples, in the suite's order."""
        return self.answers(recipe, self.suite)

    def held_out(self, recipe: Recipe) -> tuple[float, float]:
        """Accuracy of TR and of TP on held-out questions."""
        means = self.means(recipe, self.held_out_suite, "accuracy")
        return means["TR"], means["TP"]

    def held_out_gain(self, recipe: Recipe) -> float:
        """The objective on held-out questions, in accuracy."""
        return self._gain(recipe, self.held_out_suite, "accuracy")

    @cached_property
    def oracle(self) -> Recipe:
        """The damaged layers restored, at the coefficient that the search samples like best."""
        recipes = [self._restored(self.draw.layers, c) for c in reversed(COEFFICIENTS)]
        return max(recipes, key=lambda recipe: self._gain(recipe, self.suite, SMOOTH))

    @cached_property
    def best_uniform(self) -> Recipe:
        """One coefficient for every layer's attention, chosen on held-out, which favours it."""
        recipes = [constructors.uniform(self.n_layers, c) for c in UNIFORM]
        return max(recipes, key=self.held_out_gain)

    def prior(self, source: Source) -> Prior:
        """What the method says before the search, and its bill."""
        match source:
            case "scan":
                return self._prior("scan", 1.0, SMOOTH, float(self.n_layers))
            case "gradient":
                return self.finite_difference_prior()

    def finite_difference_prior(self) -> Prior:
        """A stand-in for the gradient: the margin's change at a small coefficient, per unit."""
        return self._prior("gradient", STEP, "margin", GRADIENT_BILL)

    def alone(self, layer: int) -> Difference:
        """Held-out TR accuracy gained by one layer's restoration, paired, whole clips."""
        recipe, suite = self._restored((layer,), 1.0), self.held_out_suite
        both = (constructors.base(self.n_layers), recipe)
        base, merged = (self.answers(r, suite).measured("accuracy") for r in both)
        groups = {s.id: s.group_id for s in suite.samples if suite.role(s) == "TR"}
        first, second = ({i: of[i] for i in groups} for of in (base, merged))
        return paired_difference(first, second, groups, seed=0)

    def _prior(self, source: Source, coefficient: float, measure: Measure, bill: float) -> Prior:
        base = self.means(constructors.base(self.n_layers), self.suite, measure)
        changes: dict[Role, list[float]] = {"TR": [], "TP": []}
        for layer in range(self.n_layers):
            means = self.means(self._restored((layer,), coefficient), self.suite, measure)
            for role, found in changes.items():
                found.append((means[role] - base[role]) / coefficient)
        return Prior(source, tuple(changes["TR"]), tuple(changes["TP"]), bill)

    def _restored(self, layers: tuple[int, ...], coefficient: float) -> Recipe:
        return constructors.attention(self.n_layers, dict.fromkeys(layers, coefficient))

    def _gain(self, recipe: Recipe, suite: Suite, measure: Measure) -> float:
        base = self.means(constructors.base(self.n_layers), suite, measure)
        return PenalisedGain(measure, PENALTY)(self.means(recipe, suite, measure), base)

    def means(self, recipe: Recipe, suite: Suite, measure: Measure) -> dict[Role, float]:
        """Mean of `measure` over TR and over TP."""
        return role_means(self.answers(recipe, suite), suite, measure)

    def answers(self, recipe: Recipe, suite: Suite) -> Evaluation:
        """One measurement, from memory or disk where it is known."""
        key = (suite.digest, recipe.digest)
        if key not in self._known:
            self._known[key] = _evaluation(recipe, suite, self._rows(recipe, suite))
        return self._known[key]

    def _rows(self, recipe: Recipe, suite: Suite) -> np.ndarray:
        """float32 [samples, letters]: natural-log probabilities in the suite's order."""
        place = f"{MEASURED} {self.live.digest} {suite.digest}"
        folder = self._folder / "answers" / hashlib.sha256(place.encode()).hexdigest()[:12]
        file = folder / f"{recipe.digest}.npy"
        if file.exists():
            return np.load(file)
        packs, batched = self._batched(suite)
        found = batched.answers(recipe).numpy()
        ids = [question.id for pack in packs for question in pack.questions]
        by_id = dict(zip(ids, found, strict=True))
        rows = np.stack([by_id[sample.id] for sample in suite.samples])
        written = BytesIO()
        np.save(written, rows)
        write_bytes(file, written.getvalue())
        return rows

    def _batched(self, suite: Suite) -> tuple[tuple[Pack, ...], Batched]:
        if suite.digest not in self._asked:
            packs = self._preparer.prepare(suite).packs
            kept = KEPT[len({s.group_id for s in suite.samples})]
            self._asked[suite.digest] = packs, Batched(self.live, packs, kept)
        return self._asked[suite.digest]

    @cached_property
    def _asked(self) -> dict[str, tuple[tuple[Pack, ...], Batched]]:
        return {}

    @cached_property
    def _preparer(self) -> Preparer:
        store = FeatureStore(self._folder / "features", FEATURE_BYTES)
        quarantine = Quarantine(self._folder / "quarantine.json")
        return Preparer(self.live, store, MEDIA, quarantine, threads=1, reporter=Silent())

    def _clips(self, clips: int, seed: int) -> Suite:
        return clips_suite(
            cache=self._folder / "clips",
            clips=clips,
            seed=seed + self.draw.seed,
            tr_per_clip=TR_PER_CLIP,
            tp_per_clip=TP_PER_CLIP,
            max_unusable=0.0,
            progress=None,
        )


class Silent:
    """Nothing is told but what is amiss."""

    def stage(self, name: str, done: int, total: int) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """A line on the terminal."""
        print(message)


def _evaluation(recipe: Recipe, suite: Suite, rows: np.ndarray) -> Evaluation:
    score: Callable[[Sample, Any], Any] = PACKED["letter_logprob"].score
    pairs = zip(suite.samples, rows.tolist(), strict=True)
    scores = tuple(score(sample, [row]) for sample, row in pairs)
    return Evaluation(suite.digest, recipe.digest, tuple(s.id for s in suite.samples), scores)


def _weights_digest(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
