"""The trial engine: one layout through which every number of the project is measured."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch

from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.media.status import MediaStatus
from merit_opt.data.suite import Suite
from merit_opt.errors import TrialFailed
from merit_opt.evaluation.cache import EvaluationCache
from merit_opt.evaluation.cost import Cost
from merit_opt.evaluation.curtail import Stop
from merit_opt.evaluation.evaluation import Curtailed, Evaluation, Score
from merit_opt.evaluation.halving import Halving
from merit_opt.evaluation.masking import Masking, masked_until, subject
from merit_opt.evaluation.meter import Meter
from merit_opt.evaluation.prepare import EngineReporter, Prepared, Preparer
from merit_opt.evaluation.scorers import PACKED
from merit_opt.evaluation.screen import Screen, screen
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.evaluation.spoken import Speaking
from merit_opt.models.features import FeatureStore
from merit_opt.models.flops import forward_flops, matrix_rate
from merit_opt.models.forward import read_answers
from merit_opt.models.levels import HiddenLevels, choose_levels
from merit_opt.models.live import NO_MEANS, Switch
from merit_opt.models.masking import Means
from merit_opt.models.means import Summed, means_of, module_sums
from merit_opt.models.pack import Pack, Question
from merit_opt.models.pair import ModelPair
from merit_opt.recipe.intervention import Redraw
from merit_opt.recipe.recipe import Part, Recipe

CURTAILED = "curtailed"
FEATURES = "features"
QUARANTINE = "quarantine.json"


@dataclass(frozen=True, eq=False, slots=True)
class _Asked:
    """One evaluation: which model, on what."""

    recipe: Recipe
    suite: Suite
    masking: Masking | None


@dataclass(frozen=True, eq=False, slots=True)
class Live:
    """A model in memory and what it is asked.

    Attributes:
        pair: With the live model, which nobody may change.
        packs: Of the suite.
        excluded: Sample id -> why it cannot be asked.
    """

    pair: ModelPair
    packs: tuple[Pack, ...]
    excluded: Mapping[str, str]


class Engine:
    """Evaluates recipes on suites, inside a ``with`` block; after it the VLM is itself again.

    Args:
        pair: The live pair.
        settings: How questions are put to it.
        cache: Folder of evaluations and features; safe to delete.
        starts: First merged layer -> how often recipes will have it: decides between which
            layers hidden states are kept. Empty keeps none.
        reporter: Is told what goes on.
    """

    def __init__(
        self,
        pair: ModelPair,
        settings: EngineSettings,
        *,
        cache: Path,
        starts: Mapping[int, float],
        reporter: EngineReporter,
    ) -> None:
        torch.set_num_threads(settings.threads)
        self._pair = pair
        self._settings = settings
        self._starts = starts
        self._reporter = reporter
        self.cache = cache
        self._cache = EvaluationCache(cache / "evaluations")
        self._preparer = Preparer(
            pair,
            FeatureStore(cache / FEATURES, settings.feature_bytes),
            settings.media,
            Quarantine(cache / QUARANTINE),
            threads=settings.threads,
            reporter=reporter,
        )
        self._digest = settings.digest(pair.device.type)
        self._prepared: dict[str, Prepared] = {}
        self._halving = Halving(reporter, self._forget)
        self._levels: tuple[str, HiddenLevels] | None = None
        self._known_means: dict[tuple[str, str], Means] = {}
        self._switch: Switch | None = None
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        """Take hold of the live model."""
        self._switch = self._exit.enter_context(self._pair.switching())
        return self

    def __exit__(self, *_: object) -> None:
        """Give the VLM its own weights back."""
        self._switch = None
        self._exit.close()

    def prepare(self, suite: Suite) -> None:
        """Read the suite's media, whatever will be measured on it.

        Raises:
            UserError: Too many of its samples cannot be asked.
        """
        self._prepare(suite)

    def evaluate(self, recipe: Recipe, suite: Suite, masking: Masking | None = None) -> Evaluation:
        """Scores of `recipe` on every sample of `suite`, from the cache where they are known.

        Args:
            recipe: What is merged.
            suite: What is asked.
            masking: What is masked in the merged model; None is nothing. Means are taken over those
                of its samples that can be asked.

        Raises:
            TrialFailed: The model's numbers are not finite, or memory does not suffice.
            UserError: Too many of the suite's samples cannot be asked, or there is no such
                layer or head, or it is to be reverted and not merged.
        """
        asked = _Asked(recipe, suite, self._askable(masking))
        known = self._known(asked)
        if known is not None:
            return known
        prepared = self._prepare(suite)
        scores, cost = self._scores(asked, prepared, None)
        return self._keep(asked, prepared, scores, cost)

    def left_out(self, suite: Suite) -> Mapping[str, str]:
        """Sample id -> why it cannot be asked, whatever the recipe.

        Raises:
            UserError: Too many of them cannot be asked.
        """
        return self._prepare(suite).excluded

    def usable(self, suite: Suite) -> Suite:
        """Those of its samples that can be asked: the suite itself where none is left out.

        Raises:
            UserError: Too many of them cannot be asked.
        """
        lost = self.left_out(suite)
        return suite.only(s.id for s in suite.samples if s.id not in lost) if lost else suite

    def evaluate_unless(self, recipe: Recipe, suite: Suite, stop: Stop) -> Evaluation | Curtailed:
        """As `evaluate`, but stopped as soon as `stop` says so."""
        asked = _Asked(recipe, suite, None)
        known = self._known(asked)
        if known is not None:
            return known
        prepared = self._prepare(suite)
        scores, cost = self._scores(asked, prepared, stop)
        if len(scores) + len(prepared.excluded) == len(suite.samples):
            return self._keep(asked, prepared, scores, cost)
        some = Evaluation(suite.digest, recipe.digest, tuple(scores), tuple(scores.values()))
        self._cache.put((*self._key(asked), CURTAILED), some)
        return Curtailed(suite.digest, recipe.digest, scores, stop.bound(scores), cost)

    def known_scores(self, recipe: Recipe, suite: Suite) -> Mapping[str, Score]:
        """Sample id -> score of an earlier evaluation, complete or curtailed, if it is cached."""
        key = self._key(_Asked(recipe, suite, None))
        known = self._cache.get(key) or self._cache.get((*key, CURTAILED))
        return {} if known is None else known.by_id

    def screen(self, recipe: Recipe, suite: Suite, parts: Sequence[Part]) -> Screen:
        """The first-order screen of the model that `recipe` makes; see `screen.screen`."""
        packs = self._prepare(suite).packs
        self._levels = None  # it needs the memory
        self._opened(recipe, None)
        return screen(self._pair, suite, packs, parts, self._reporter)

    def live(self, recipe: Recipe, suite: Suite, redraw: Redraw | None = None) -> Live:
        """The live model as `recipe` makes it, until anything else is asked, and what to ask it.

        Args:
            recipe: What is merged.
            suite: What is asked.
            redraw: How its weights are drawn anew; None leaves them.

        Raises:
            UserError: Too many of the suite's samples cannot be asked.
        """
        prepared = self._prepare(suite)
        self._levels = None  # whoever asks needs the memory
        self._opened(recipe, redraw)
        return Live(self._pair, prepared.packs, prepared.excluded)

    def key(self, recipe: Recipe, suite: Suite) -> tuple[str, ...]:
        """All that shapes what the model of `recipe` makes of `suite`."""
        return self._key(_Asked(recipe, suite, None))

    def statuses(self, suite: Suite) -> Mapping[str, MediaStatus]:
        """Sample id -> how reading its media went.

        Raises:
            UserError: Too many of the suite's samples cannot be asked.
        """
        found = self._prepare(suite).statuses
        return {s.id: found[s.media] for s in suite.samples if s.media in found}

    def _key(self, asked: _Asked) -> tuple[str, ...]:
        own = () if asked.masking is None else asked.masking.key
        recipe, suite = asked.recipe, asked.suite
        return (self._pair.identity(recipe), recipe.digest, suite.digest, self._digest, *own)

    def _askable(self, masking: Masking | None) -> Masking | None:
        """Over what its means are truly taken."""
        if masking is None or not masking.needs_means:
            return masking
        return replace(masking, over=self.usable(masking.over))

    def _known(self, asked: _Asked) -> Evaluation | None:
        """The cached evaluation, unless it left out samples that could be asked now."""
        known = self._cache.get(self._key(asked))
        if known is None or not known.left_out:
            return known
        excluded = self._prepare(asked.suite).excluded
        return known if known.left_out.keys() == excluded.keys() else None

    def _keep(
        self, asked: _Asked, prepared: Prepared, scores: Mapping[str, Score], cost: Cost
    ) -> Evaluation:
        left_out = {i: Score(value=None, why=why) for i, why in prepared.excluded.items()}
        ids = tuple(s.id for s in asked.suite.samples)
        all_scores = {**scores, **left_out}
        measured = subject(asked.recipe, asked.masking)
        evaluation = Evaluation(
            asked.suite.digest, measured, ids, tuple(all_scores[i] for i in ids), cost
        )
        self._cache.put(self._key(asked), evaluation)
        return evaluation

    def _prepare(self, suite: Suite) -> Prepared:
        if suite.digest not in self._prepared:
            self._prepared[suite.digest] = self._preparer.prepare(suite)
        return self._prepared[suite.digest]

    def _levels_of(self, suite: Suite, packs: Sequence[Pack]) -> HiddenLevels:
        """Of one suite at a time: another one's are let go."""
        if self._levels is None or self._levels[0] != suite.digest:
            self._levels = None
            budget = self._settings.levels
            one = sum(p.rows for p in packs) * packs[0].features.tokens[0].nbytes
            levels = choose_levels(self._starts, (budget.device + budget.host) // one)
            self._levels = suite.digest, HiddenLevels(levels, budget)
        return self._levels[1]

    @torch.no_grad()
    def _scores(
        self, asked: _Asked, prepared: Prepared, stop: Stop | None
    ) -> tuple[dict[str, Score], Cost]:
        meter = Meter(self._pair.devices)
        scores: dict[str, Score] = {}
        rate = matrix_rate(self._pair.device, self._pair.model.dtype)  # before levels fill memory
        packs = _ordered(prepared.packs, stop)
        try:
            with meter.stage("switch"):
                self._opened(asked.recipe, asked.masking)
                _wait(self._pair.devices)
            with self._asking(asked, packs, meter) as ask:
                for pack in packs:
                    scores |= ask(pack)
                    meter.questions = len(scores)
                    with meter.stage("score"):
                        if stop is not None and stop.is_hopeless(scores):
                            break
        except torch.OutOfMemoryError as error:
            raise TrialFailed(f"out of memory: {error}") from error
        n = len(asked.suite.samples) - len(prepared.excluded)
        return scores, meter.total(asked=n, matrix_rate=rate)

    def _opened(self, recipe: Recipe, masking: Masking | Redraw | None) -> None:
        """Make the live model what `recipe` says, and mask it or draw it anew."""
        if self._switch is None:
            raise RuntimeError("an engine evaluates inside its with block only")
        if not isinstance(masking, Masking):
            self._switch(recipe, masking)
        else:
            self._switch(recipe, masking.intervention, self._means(recipe, masking))

    def _means(self, recipe: Recipe, masking: Masking) -> Means:
        """Of the model that `recipe` makes; measured when first asked for, and kept."""
        if not masking.needs_means or self._switch is None:
            return NO_MEANS
        key = recipe.digest, masking.over.digest
        if key not in self._known_means:
            packs = self._prepare(masking.over).packs
            self._switch(recipe)
            self._known_means[key] = self._measured_means(packs)
        return self._known_means[key]

    def _measured_means(self, packs: Sequence[Pack]) -> Means:
        def summed(pack: Pack, skipped: int) -> Summed:
            return module_sums(self._pair, pack, skipped)

        return means_of(part for pack in packs for part in self._halving(pack, summed))

    @contextmanager
    def _asking(
        self, asked: _Asked, packs: Sequence[Pack], meter: Meter
    ) -> Generator[Callable[[Pack], dict[str, Score]]]:
        """From a pack to the scores of its samples, the model being what is asked about."""
        suite = asked.suite
        samples = {s.id: s for s in suite.samples}
        scorer = PACKED.get(suite.asking.scorer)
        if scorer is None:
            media = [samples[pack.questions[0].id].media for pack in packs]
            with self._preparer.reading(media, suite.asking.frames) as pool:
                yield Speaking(self._pair, suite, meter, pool.take)
            return
        levels = self._levels_of(suite, packs)

        def ask(pack: Pack) -> dict[str, Score]:
            answers = self._answers(pack, asked, levels, meter)
            with meter.stage("score"):
                rows = dict[str, list[list[float]]]()
                for question in pack.questions:
                    rows.setdefault(question.id, []).append(answers[question])
                return {i: scorer.score(samples[i], own) for i, own in rows.items()}

        yield ask

    def _answers(
        self, pack: Pack, asked: _Asked, levels: HiddenLevels, meter: Meter
    ) -> dict[Question, list[float]]:
        """Question -> log-probabilities."""
        parts = self._halving(pack, lambda one, _: self._forward(one, asked, levels, meter))
        meter.halved += len(parts) > 1
        return {question: row for part in parts for question, row in part.items()}

    def _forget(self, pack: Pack) -> None:
        if self._levels is not None:
            self._levels[1].forget(pack)

    def _forward(
        self, pack: Pack, asked: _Asked, levels: HiddenLevels, meter: Meter
    ) -> dict[Question, list[float]]:
        recipe, until = asked.recipe, masked_until(asked.masking)
        with meter.stage("load"):
            start, hidden = levels.begin(self._pair, pack, recipe, until=until)
        with meter.stage("forward"):
            hidden = levels.finish(self._pair, pack, recipe, start, hidden, until=until)
            rows = read_answers(self._pair, pack, hidden)
        meter.tokens += pack.rows
        meter.row_layers += pack.rows * self._pair.n_layers
        meter.row_layers_skipped += pack.rows * start
        meter.flops += forward_flops(self._pair, pack, start)
        return dict(zip(pack.questions, rows, strict=True))


def _ordered(packs: Sequence[Pack], stop: Stop | None) -> Sequence[Pack]:
    if stop is None:
        return packs
    sizes = [(list(dict.fromkeys(q.id for q in p.questions)), p.rows) for p in packs]
    return [packs[i] for i in stop.order(sizes)]


def _wait(devices: Sequence[torch.device]) -> None:
    """Until they have done what they were told, so that the next stage's time is its own."""
    for device in devices:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
