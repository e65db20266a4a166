"""One live pair for the engine, one for the peers, and the measurements on them."""

import shutil
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import optuna
from clock import Taken, ratios, spread, timed
from material import Material, with_answers
from peers import Answers, DiskPeer, MemoryPeer, Stock, StrongestPeer, Weights
from transformers import AutoModelForCausalLM

from merit_opt.data.suite import Suite
from merit_opt.evaluation.curtail import Curtailment
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.evaluation import Curtailed, Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.scorers import score_options
from merit_opt.evaluation.settings import EngineSettings
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.models.pair import ModelPair
from merit_opt.models.source import folder_pair
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe
from merit_opt.search import pruners
from merit_opt.search import trial as trials
from merit_opt.search.controls import enqueue_controls
from merit_opt.search.front import Thrift
from merit_opt.search.samplers import PerProposal, random
from merit_opt.search.spaces import Layerwise, first_layers

OBJECTIVE = PenalisedGain("accuracy", 2.0)
PROPOSALS = 30
FULL, THIRD, SEARCH = "engine, full", "engine, from a third", "engine, search trial"
DISK, MEMORY, STRONGEST = "disk peer", "in-memory peer", "strongest peer"
RATIOS = {DISK: "full_vs_disk", MEMORY: "full_vs_memory", STRONGEST: "full_vs_strongest"}
SETTINGS = EngineSettings(
    threads=1,
    backbone="device",
    features_gib=4,
    levels_gib=4,
    host_levels_gib=0,
    prefixes=0,
    decoder="auto",
    decode_workers=1,
    decode_seconds=120.0,
    frames_in_flight=512,
)

Say = Callable[[str], None]


@dataclass
class Reporter:
    """Prints warnings; progress is the benchmark's own."""

    say: Say

    def stage(self, name: str, done: int, total: int) -> None:
        """Nothing."""

    def warn(self, message: str) -> None:
        """Print it."""
        self.say(message)


@dataclass
class Bench:
    """What is measured on, and how."""

    cache: Path
    pair: ModelPair
    suite: Suite
    base: Evaluation
    peers: dict[str, Callable[[Recipe], Answers]]
    engines: dict[str, Engine]
    say: Say
    stock: Stock | None = None
    taken: dict[str, list[Taken]] = field(default_factory=dict)
    costs: dict[str, list[Any]] = field(default_factory=dict)
    decoding: list[float] = field(default_factory=list)
    agreement: list[float] = field(default_factory=list)

    @property
    def third(self) -> int:
        """First merged layer of a recipe that leaves a third of the depth alone."""
        return self.pair.n_layers // 3

    @property
    def space(self) -> Layerwise:
        """The default search space."""
        return Layerwise(self.pair.n_layers, 0.1, 1.0)

    def evaluate(self, name: str, recipe: Recipe) -> Evaluation:
        """`recipe` through the engine of that name, and the VLM itself again."""
        with self.engines[name] as engine:
            found, taken = timed(partial(engine.evaluate, recipe, self.suite))
        if found.cost is None:
            raise RuntimeError("an evaluation was taken from the cache")
        self.taken.setdefault(name, []).append(taken)
        self.costs.setdefault(name, []).append(found.cost)
        return found

    def ask(self, name: str, recipe: Recipe) -> Answers:
        """`recipe` through the peer of that name."""
        decoded = self.stock.decoding if self.stock else 0.0
        answers, taken = timed(partial(self.peers[name], recipe))
        self.taken.setdefault(name, []).append(taken)
        if self.stock and name == DISK:
            self.decoding.append(self.stock.decoding - decoded)
        return answers


def open_bench(material: Material, folder: Path, dtype: str, say: Say) -> Bench:
    """Both pairs loaded, right options drawn, features, levels and embeddings made."""
    source = folder_pair(material.vlm, material.backbone, dtype)
    pair, other = source.load("cpu", "device"), source.load("cpu", "device")
    say("the unmerged model, and the right options drawn from its answers")
    engines = make_engines(pair, folder / "cache", SETTINGS, say)
    with engines[FULL] as engine:
        base = engine.evaluate(constructors.base(pair.n_layers), material.suite)
    suite = with_answers(material.suite, base, seed=0)
    for engine in engines.values():
        with engine:
            base = engine.evaluate(constructors.base(pair.n_layers), suite)
        shutil.rmtree(folder / "cache" / "evaluations")
    say("the strongest peer's embeddings")
    stock = Stock(other, suite)
    donor = AutoModelForCausalLM.from_pretrained(material.backbone, dtype=other.model.dtype)
    weights = Weights.of(other.model, donor)
    peers: dict[str, Callable[[Recipe], Answers]] = {
        DISK: DiskPeer(weights, stock, folder / "merged"),
        MEMORY: MemoryPeer(weights, stock),
        STRONGEST: StrongestPeer(weights, stock),
    }
    return Bench(folder / "cache", pair, suite, base, peers, engines, say, stock)


def make_engines(
    pair: ModelPair, cache: Path, settings: EngineSettings, say: Say
) -> dict[str, Engine]:
    """By what they know of the recipes to come: nothing, one first layer, the search space."""
    starts = {
        FULL: {},
        THIRD: {pair.n_layers // 3: 1.0},
        SEARCH: first_layers(Layerwise(pair.n_layers, 0.1, 1.0)),
    }
    return {
        name: Engine(pair, settings, cache=cache, starts=found, reporter=Reporter(say))
        for name, found in starts.items()
    }


def fresh_recipes(n_layers: int) -> Iterator[Recipe]:
    """Every layer merged, the coefficients never the same."""
    rng = Random(0)
    while True:
        yield constructors.attention(
            n_layers, {layer: rng.uniform(0.1, 1.0) for layer in range(n_layers)}
        )


def upper(recipe: Recipe, first: int) -> Recipe:
    """The same recipe with the layers below `first` left alone."""
    own = recipe.coefficients()
    return constructors.attention(
        len(recipe.layers), {layer: c for layer, c in own.items() if layer >= first}
    )


def measure_round(bench: Bench, recipe: Recipe, turn: int) -> None:
    """Peers and engine on one recipe, whoever comes first changing from round to round."""
    answers: dict[str, Answers] = {}
    names = [*bench.peers, FULL, THIRD]
    shift = turn % len(names)
    for name in names[shift:] + names[:shift]:
        bench.say(f"round {turn + 1}: {name}")
        if name in bench.peers:
            answers[name] = bench.ask(name, recipe)
        elif name == FULL:
            found = bench.evaluate(FULL, recipe)
        else:
            bench.evaluate(THIRD, upper(recipe, bench.third))
    bench.agreement += [furthest(bench.suite, found, row) for row in answers.values()]


def furthest(suite: Suite, found: Evaluation, answers: Answers) -> float:
    """Greatest difference between log-probabilities of right options."""
    return max(map(abs, differences(suite, found, answers)))


def differences(suite: Suite, found: Evaluation, answers: Answers) -> list[float]:
    """Log-probabilities of the right options, the engine's less the other's."""
    scores = dict(zip(found.ids, found.scores, strict=True))
    return [(scores[s.id].log_probability or 0.0) - answers[s.id][s.answer] for s in suite.samples]


@dataclass
class SearchFound:
    """What the search's proposals cost.

    Attributes:
        objective: Of the search.
        engine: Of each proposal, asking and telling included.
        peer: Of the proposals that the strongest peer evaluated too, by number.
        kept: Share of the questions that those were answered on as by the unmerged VLM.
        overshoot: How far the value of those that were stopped lies above the value to beat,
            by the peer's answers; above 0 the stop was wrong.
        costs: Of each proposal.
        recipes: Proposed.
        values: Of each proposal in full, None where it was stopped.
    """

    objective: PenalisedGain
    engine: list[Taken] = field(default_factory=list)
    peer: dict[int, Taken] = field(default_factory=dict)
    kept: list[float] = field(default_factory=list)
    overshoot: list[float] = field(default_factory=list)
    costs: list[Any] = field(default_factory=list)
    recipes: list[Recipe] = field(default_factory=list)
    values: list[float | None] = field(default_factory=list)


def measure_search(
    bench: Bench, proposals: int, objective: PenalisedGain, every: int | None
) -> SearchFound:
    """A study of random proposals, and the strongest peer on every `every`-th of them."""
    found = SearchFound(objective)
    shutil.rmtree(bench.cache / "evaluations", ignore_errors=True)
    yardstick = Yardstick(bench.suite, objective, bench.base)
    engine = bench.engines[SEARCH]

    def measure(recipe: Recipe, curtailment: Curtailment | None) -> Evaluation | Curtailed:
        if curtailment is None:
            outcome: Evaluation | Curtailed = engine.evaluate(recipe, bench.suite)
        else:
            outcome = engine.evaluate_unless(recipe, bench.suite, curtailment)
        found.costs.append(outcome.cost)
        found.recipes.append(recipe)
        return outcome

    study = optuna.create_study(
        direction="maximize",
        sampler=PerProposal(random(), seed=0, space=bench.space),
    )
    trials.keep_choice(study, Thrift(0.0))
    base = constructors.base(bench.pair.n_layers)
    enqueue_controls(study, [("base", base)], bench.space)
    known = partial(engine.known_scores, suite=bench.suite)
    stopping = pruners.Stopping(pruners.CURTAIL.make(yardstick), known)
    tried = trials.Bench(bench.space, measure, yardstick, stopping)
    with engine:
        trials.run_trial(study, study.ask(), tried)
    found.costs.clear()
    found.recipes.clear()
    for number in range(proposals):
        bench.say(f"search: proposal {number + 1} of {proposals}")
        leader = study.best_value
        with engine:
            record, taken = timed(lambda: trials.run_trial(study, study.ask(), tried))
        found.engine.append(taken)
        found.values.append(record.value)
        if every and number % every == 0:
            bench.say("search: strongest peer on the same recipe")
            answers, taken = timed(partial(bench.peers[STRONGEST], found.recipes[-1]))
            found.peer[number] = taken
            found.kept.append(kept_share(bench.base, answers))
            if record.value is None:
                found.overshoot.append(yardstick.bound(as_scores(bench, answers)) - leader)
    return found


def as_scores(bench: Bench, answers: Answers) -> dict[str, Score]:
    """A peer's answers as the engine scores its own."""
    return {s.id: score_options(s, answers[s.id]) for s in bench.suite.samples}


def kept_share(base: Evaluation, answers: Answers) -> float:
    """How many answers are the unmerged VLM's."""
    chosen = {i: "ABCDEFGH"[row.index(max(row))] for i, row in answers.items()}
    own = zip(base.ids, base.scores, strict=True)
    return statistics.mean(chosen[i] == score.answer for i, score in own)


def speed_figures(bench: Bench, found: SearchFound, clock: str) -> dict[str, Any]:
    """Ratios and their spreads on one clock, `cpu` or `wall`."""

    def seconds(name: str) -> list[float]:
        return [getattr(t, clock) for t in bench.taken[name]]

    own = [getattr(t, clock) for t in found.engine]
    peer = {n: getattr(t, clock) for n, t in found.peer.items()}
    paired = {RATIOS[name]: ratios(seconds(name), seconds(FULL)) for name in bench.peers} | {
        "third_vs_strongest": ratios(seconds(STRONGEST), seconds(THIRD))
    }
    search = [p / statistics.mean(own) for p in peer.values()]
    figures: dict[str, Any] = {k: statistics.median(v) for k, v in paired.items()}
    figures["search_vs_strongest"] = statistics.mean(peer.values()) / statistics.mean(own)
    figures["ratio_spread"] = {k: spread(v) for k, v in paired.items()}
    figures["ratio_spread"]["search_vs_strongest"] = spread(search)
    figures["seconds"] = {n: spread(seconds(n)) for n in (*bench.peers, FULL, THIRD)}
    figures["seconds"][SEARCH] = spread(own) | {"mean": statistics.mean(own)}
    figures["seconds"]["strongest peer, search's recipes"] = spread(list(peer.values()))
    return figures
