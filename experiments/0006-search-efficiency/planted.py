"""The testbed of a planted pair: its damaged layers are known, and it is measured fast.

The merge is the product's, the forward is `batched.Batched`, and `engine_difference` says how far
its answers are from the engine's.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from batched import Batched
from draws import Draw, planted_vlm
from numpy.typing import NDArray
from testbed import PENALTY

from merit_opt.data.clips.suite import clips_suite
from merit_opt.data.media.decode_pool import MediaSettings
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.suite import Role, Suite
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Evaluation, Measure, role_means
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.prepare import Preparer
from merit_opt.evaluation.scorers import PACKED, Scorer
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.evaluation.stats import Difference, paired_difference
from merit_opt.files import write_bytes, write_text
from merit_opt.models.distance import distances
from merit_opt.models.features import FeatureStore
from merit_opt.models.pack import Pack
from merit_opt.models.pair import ModelPair
from merit_opt.models.source import FolderOrId, PairSource
from merit_opt.models.tiny.pair import tiny_pair
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search.priors import Prior, Source, prior_of_screen
from merit_opt.search.warm_start import merged_parts

FOLDER = Path("outputs/planted")
MEASURED = "batched/1"  # raise it with every change of measuring that moves a bit
SCREENED = "screen/1"  # raise it with every change of the screen, or to time it again
ENGINE = EngineSettings(
    threads=1,
    backbone="device",
    features_gib=2,
    levels_gib=0,
    host_levels_gib=0,
    prefixes=0,
    decoder="auto",
    decode_workers=1,
    decode_seconds=120.0,
    frames_in_flight=512,
)
TR_PER_CLIP, TP_PER_CLIP = 3, 2
SEARCH_SEED, HELD_OUT_SEED = 1000, 2000
KEPT, KEPT_HELD_OUT = 80, 8  # states of merged recipes, of 4 MB and of 13 MB
REMEMBERED = 300  # evaluations in memory; what lies on disk is read in milliseconds
COEFFICIENTS = (1.0, 0.75, 0.5)
UNIFORM = (0.1, 0.25, 0.5, 0.75, 1.0)

SMOOTH: Measure = "probability"
SPARED = 0.05
STEP = 1e-2


@dataclass(frozen=True, slots=True)
class Size:
    """Clips to search on, and other clips that no search sees."""

    search: int
    held_out: int


FULL_SIZE = Size(search=80, held_out=250)


def planted(draw: Draw, folder: Path = FOLDER) -> "Planted":
    """The testbed of a draw, made or found in `folder`, which is safe to delete."""
    return Planted(draw, planted_vlm(draw, folder), folder)


class Planted:
    """See `testbed.Testbed`.

    Args:
        draw: What was planted.
        vlm: The checkpoint.
        folder: Where clips, features and answers are kept.
        size: How many clips.
    """

    name = "planted"

    def __init__(self, draw: Draw, vlm: Path, folder: Path, size: Size = FULL_SIZE) -> None:
        self.draw = draw
        self.pair = draw.name
        self.decoys = frozenset(draw.decoys)
        self.source: PairSource = tiny_pair(vlm=FolderOrId(str(vlm)), dtype="float32")
        self._folder = folder
        self._size = size
        self._known: dict[tuple[str, str], Evaluation] = {}
        self._asked: dict[str, tuple[tuple[Pack, ...], Batched]] = {}

    @property
    def n_layers(self) -> int:
        """Decoder layers."""
        return self.source.alignment.n_layers

    @cached_property
    def suite(self) -> Suite:
        """The search samples: 240 TR and 160 TP questions about 80 clips."""
        return self._clips(self._size.search, SEARCH_SEED)

    @cached_property
    def held_out_suite(self) -> Suite:
        """750 TR and 500 TP questions about 250 other clips."""
        return self._clips(self._size.held_out, HELD_OUT_SEED)

    @cached_property
    def oracle(self) -> Recipe:
        """The damaged layers restored, at the coefficient that the search samples like best."""
        recipes = [self.restored(self.draw.layers, c) for c in COEFFICIENTS]
        return max(recipes, key=lambda recipe: self.gain(recipe, self.suite, SMOOTH))

    @cached_property
    def helpful(self) -> frozenset[int]:
        """Damaged layers whose restoration alone helps on held-out.

        It raises the objective, and the 95 % interval of its TR difference, paired by question
        and resampled by clip, lies above zero.
        """
        return frozenset(
            layer
            for layer in self.draw.layers
            if self.alone(layer).low > 0 and self.held_out_gain(self.restored((layer,), 1.0)) > 0
        )

    @cached_property
    def useful(self) -> frozenset[int]:
        """Helpful layers without which the oracle would lose more than `SPARED` of its gain.

        What one layer's restoration has already mended, another's cannot: a good recipe may
        leave that one out.
        """
        least = (1.0 - SPARED) * self.held_out_gain(self.oracle)
        return frozenset(k for k in self.helpful if self.held_out_gain(self.without(k)) < least)

    def without(self, layer: int) -> Recipe:
        """The oracle with one layer left as the VLM's."""
        kept = {k: c for k, c in self.oracle.coefficients().items() if k != layer}
        return constructors.attention(self.n_layers, kept)

    @cached_property
    def best_uniform(self) -> Recipe:
        """One coefficient for every layer's attention, chosen on held-out, which favours it."""
        recipes = [constructors.uniform(self.n_layers, c) for c in UNIFORM]
        return max(recipes, key=self.held_out_gain)

    @cached_property
    def distance(self) -> tuple[float, ...]:
        """Of each layer's attention to the backbone's."""
        stored = self.source.stored
        found = distances(stored.vlm, stored.backbone, lambda done, total: None)
        return tuple(d.relative for d in found if d.part == "attention")

    def measure(self, recipe: Recipe) -> Evaluation:
        """Answers on the search samples, in the suite's order."""
        return self.answers(recipe, self.suite)

    def held_out(self, recipe: Recipe) -> tuple[float, float]:
        """Accuracy of TR and of TP on held-out questions."""
        means = role_means(
            self.answers(recipe, self.held_out_suite), self.held_out_suite, "accuracy"
        )
        return means["TR"], means["TP"]

    def held_out_gain(self, recipe: Recipe) -> float:
        """The objective on held-out questions, in accuracy."""
        return self.gain(recipe, self.held_out_suite, "accuracy")

    def gain(self, recipe: Recipe, suite: Suite, measure: Measure) -> float:
        """The objective against the unmerged model."""
        means = [
            role_means(self.answers(r, suite), suite, measure) for r in (recipe, self._unmerged)
        ]
        return PenalisedGain(measure, PENALTY)(*means)

    def prior(self, source: Source) -> Prior:
        """What the method says before the search, and its bill."""
        if source == "scan":
            return self._prior("scan", 1.0, SMOOTH)
        return self.screened

    @cached_property
    def screened(self) -> Prior:
        """The product's first-order screen; kept with the bill that was timed first."""
        file = self._place("priors", SCREENED, self.suite).with_suffix(".json")
        if file.exists():
            return Prior.from_dict(json.loads(file.read_text()))
        greatest = constructors.uniform(self.n_layers, 1.0)
        with self._engine() as engine:
            found = engine.screen(self._unmerged, self.suite, merged_parts(greatest))
        prior = prior_of_screen(found, greatest)
        write_text(file, json.dumps(prior.to_dict()))
        return prior

    def finite_difference_prior(self, measure: Measure = "margin") -> Prior:
        """What the screen is checked by: the measure's change at a small coefficient, per unit."""
        return self._prior("gradient", STEP, measure)

    def alone(self, layer: int) -> Difference:
        """Held-out TR accuracy gained by restoring one layer."""
        suite = self.held_out_suite
        groups = {s.id: s.group_id for s in suite.samples if suite.role(s) == "TR"}
        base, merged = (
            self.answers(recipe, suite).measured("accuracy")
            for recipe in (self._unmerged, self.restored((layer,), 1.0))
        )
        first, second = ({i: of[i] for i in groups} for of in (base, merged))
        return paired_difference(first, second, groups, seed=0)

    def restored(self, layers: Iterable[int], coefficient: float) -> Recipe:
        """Attention of some layers at one coefficient."""
        return constructors.attention(self.n_layers, dict.fromkeys(layers, coefficient))

    def answers(self, recipe: Recipe, suite: Suite) -> Evaluation:
        """One measurement, from memory or disk where it is known."""
        key = (suite.digest, recipe.digest)
        if key not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[key] = _evaluation(recipe, suite, self._rows(recipe, suite))
        return self._known[key]

    def engine_difference(self, recipes: Sequence[Recipe], suite: Suite) -> float:
        """The greatest difference of an option's probability from the product's engine."""
        mine = [self.answers(recipe, suite) for recipe in recipes]
        with self._engine() as engine:
            its = [engine.evaluate(recipe, suite) for recipe in recipes]
        return max(
            abs(ours - theirs)
            for evaluations in zip(mine, its, strict=True)
            for scores in zip(*(e.scores for e in evaluations), strict=True)
            for ours, theirs in zip(*(s.probabilities for s in scores), strict=True)
        )

    @cached_property
    def live(self) -> ModelPair:
        """The loaded pair, in float32, on one thread."""
        torch.set_num_threads(1)
        return self.source.load("cpu", "device")

    @property
    def _unmerged(self) -> Recipe:
        return constructors.base(self.n_layers)

    def _engine(self) -> Engine:
        return Engine(self.live, ENGINE, cache=self._folder, starts={}, reporter=Silent())

    def _place(self, kind: str, version: str, suite: Suite) -> Path:
        place = f"{version} {self.source.digest} {suite.digest}"
        return self._folder / kind / hashlib.sha256(place.encode()).hexdigest()[:12]

    def _prior(self, source: Source, coefficient: float, measure: Measure) -> Prior:
        base = role_means(self.measure(self._unmerged), self.suite, measure)
        changes: dict[Role, list[float]] = {"TR": [], "TP": []}
        for layer in range(self.n_layers):
            found = self.measure(self.restored((layer,), coefficient))
            means = role_means(found, self.suite, measure)
            for role, of_role in changes.items():
                of_role.append((means[role] - base[role]) / coefficient)
        return Prior(source, tuple(changes["TR"]), tuple(changes["TP"]), float(self.n_layers))

    def _rows(self, recipe: Recipe, suite: Suite) -> NDArray[np.float32]:
        """[samples, letters]: natural-log probabilities in the suite's order."""
        file = self._place("answers", MEASURED, suite) / f"{recipe.digest}.npy"
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
            kept = KEPT if suite is self.suite else KEPT_HELD_OUT
            self._asked[suite.digest] = packs, Batched(self.live, packs, kept)
        return self._asked[suite.digest]

    @cached_property
    def _preparer(self) -> Preparer:
        store = FeatureStore(self._folder / "features", ENGINE.feature_bytes)
        quarantine = Quarantine(self._folder / "quarantine.json")
        media: MediaSettings = ENGINE.media
        return Preparer(self.live, store, media, quarantine, threads=1, reporter=Silent())

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


def _evaluation(recipe: Recipe, suite: Suite, rows: NDArray[np.float32]) -> Evaluation:
    scorer: Scorer = PACKED["letter_logprob"]
    pairs = zip(suite.samples, rows.tolist(), strict=True)
    scores = tuple(scorer.score(sample, [row]) for sample, row in pairs)
    return Evaluation(suite.digest, recipe.digest, tuple(s.id for s in suite.samples), scores)
