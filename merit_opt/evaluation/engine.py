"""The trial engine: one layout through which every number of the project is measured."""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from merit_opt.data.prompts import render_prompt
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Suite
from merit_opt.data.video import MediaError, read_frames
from merit_opt.errors import TrialFailed, UserError
from merit_opt.evaluation.cache import EvaluationCache
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.scorers import LETTER_SCORER, score_letters
from merit_opt.models.families.family import VideoFeatures
from merit_opt.models.forward import Question, letter_log_probabilities
from merit_opt.models.pair import ModelPair
from merit_opt.recipe.recipe import Recipe

LIBRARIES = ("torch", "torchvision", "transformers", "av", "decord")

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How questions are put to the model; part of every number's identity.

    Attributes:
        batch: Questions of one length per forward; at least 1.
        threads: CPU threads; results differ by about 4e-6 between thread counts.
        max_unscored: Share of samples, in [0, 1), that may be left out for bad media.

    Raises:
        UserError: A value out of its range.
    """

    batch: int
    threads: int
    max_unscored: float

    def __post_init__(self) -> None:
        if self.batch < 1 or self.threads < 1 or not 0.0 <= self.max_unscored < 1.0:
            raise UserError(
                "engine.batch and engine.threads are 1 or more and engine.max_unscored lies in "
                f"[0, 1); got {self.batch}, {self.threads}, {self.max_unscored}"
            )

    def digest(self, device_type: str) -> str:
        """12 hex digits over `identity`."""
        return hashlib.sha256(self.identity(device_type).encode()).hexdigest()[:12]

    def identity(self, device_type: str) -> str:
        """Scorer, batching, threads, device type and libraries: what can move a score, to read."""
        libraries = " ".join(f"{name} {_version(name)}" for name in LIBRARIES)
        return (
            f"{LETTER_SCORER}, batch {self.batch}, threads {self.threads}, {device_type}, "
            f"{libraries}"
        )


@dataclass(frozen=True, eq=False, slots=True)
class _Prepared:
    questions: tuple[Question, ...]
    excluded: dict[str, str]


class Engine:
    """Evaluates recipes on suites. Visual features are computed once per video and process."""

    def __init__(
        self, pair: ModelPair, settings: EngineSettings, cache: EvaluationCache, progress: Progress
    ) -> None:
        self._pair = pair
        self._settings = settings
        self._cache = cache
        self._progress = progress
        self._unread: dict[tuple[str, int | None], MediaError] = {}
        self._prepared: dict[str, _Prepared] = {}
        self._digest = settings.digest(pair.device.type)
        torch.set_num_threads(settings.threads)

    def evaluate(self, recipe: Recipe, suite: Suite) -> Evaluation:
        """Scores of `recipe` on every sample of `suite`, from the cache where they are known.

        Raises:
            TrialFailed: The model's numbers are not finite, or memory does not suffice.
            UserError: Too many of the suite's media cannot be read.
        """
        key = (self._pair.digest, recipe.digest, suite.digest, self._digest)
        known = self._cache.get(key)
        if known is not None and not known.unscored:
            return known
        prepared = self._prepare(suite)
        if known is not None and known.unscored == prepared.excluded:
            return known
        started = time.perf_counter()
        answers = self._answers(recipe, prepared.questions)
        scores = tuple(_score(s, answers, prepared.excluded) for s in suite.samples)
        ids = tuple(s.id for s in suite.samples)
        evaluation = Evaluation(
            suite.digest, recipe.digest, ids, scores, time.perf_counter() - started
        )
        self._cache.put(key, evaluation)
        return evaluation

    def _prepare(self, suite: Suite) -> _Prepared:
        if suite.digest not in self._prepared:
            self._prepared[suite.digest] = self._encode(suite)
        return self._prepared[suite.digest]

    def _encode(self, suite: Suite) -> _Prepared:
        questions: list[Question] = []
        excluded: dict[str, str] = {}
        for done, sample in enumerate(suite.samples):
            self._progress(f"reading {suite.name} videos", done, len(suite.samples))
            features = self._video(sample, suite.frames)
            if isinstance(features, MediaError):
                excluded[sample.id] = str(features)
                continue
            prompt = self._pair.family.encode_prompt(
                self._pair.model,
                self._pair.processor,
                render_prompt(suite.prompt, sample),
                features,
            )
            questions.append(Question(sample.id, prompt, features, len(sample.options)))
        self._refuse_if_too_many(suite, excluded)
        return _Prepared(tuple(questions), excluded)

    def _video(self, sample: Sample, frames: int | None) -> VideoFeatures | MediaError:
        (media,) = sample.media
        key = (media.digest, frames)
        if key in self._unread:
            return self._unread[key]
        if key not in self._pair.videos:
            try:
                pixels = read_frames(media.path, frames)
            except MediaError as error:
                self._unread[key] = error
                return error
            self._pair.videos[key] = self._encode_video(pixels)
        return self._pair.videos[key]

    @torch.no_grad()
    def _encode_video(self, pixels: NDArray[np.uint8]) -> VideoFeatures:
        try:
            return self._pair.family.encode_video(self._pair.model, self._pair.processor, pixels)
        except torch.OutOfMemoryError as error:
            raise TrialFailed(
                f"out of memory for a video of {len(pixels)} frames; ask for fewer frames: {error}"
            ) from error

    def _refuse_if_too_many(self, suite: Suite, excluded: dict[str, str]) -> None:
        if len(excluded) > self._settings.max_unscored * len(suite.samples):
            reasons = "\n  ".join(sorted(set(excluded.values())))
            raise UserError(
                f"suite {suite.name}: {len(excluded)} of {len(suite.samples)} samples have media "
                f"that cannot be read, more than engine.max_unscored="
                f"{self._settings.max_unscored}:\n  {reasons}"
            )

    def _answers(self, recipe: Recipe, questions: Sequence[Question]) -> dict[str, list[float]]:
        answers: dict[str, list[float]] = {}
        try:
            with self._pair.merged(recipe) as model:
                for batch in _batches(questions, self._settings.batch):
                    rows = _within_memory(self._pair, model, batch)
                    answers.update(zip((q.id for q in batch), rows, strict=True))
        except torch.OutOfMemoryError as error:
            raise TrialFailed(f"out of memory, one question at a time too: {error}") from error
        return answers


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "absent"


def _batches(questions: Sequence[Question], size: int) -> Iterable[list[Question]]:
    def length(question: Question) -> int:
        return len(question.prompt.input_ids)

    for _, group in groupby(sorted(questions, key=length), key=length):
        equal = list(group)
        yield from (equal[i : i + size] for i in range(0, len(equal), size))


def _within_memory(pair: ModelPair, model: Any, batch: Sequence[Question]) -> list[list[float]]:
    try:
        return letter_log_probabilities(pair, model, batch)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
    return [row for q in batch for row in letter_log_probabilities(pair, model, [q])]


def _score(sample: Sample, answers: dict[str, list[float]], excluded: dict[str, str]) -> Score:
    if sample.id in excluded:
        return Score(value=None, why=excluded[sample.id])
    return score_letters(sample, answers[sample.id])
