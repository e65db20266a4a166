"""Qwen2.5-VL-7B's language model on a CUDA device: random weights, synthetic visual features."""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from bench import (
    FULL,
    OBJECTIVE,
    SEARCH,
    SETTINGS,
    STRONGEST,
    THIRD,
    Bench,
    Say,
    SearchFound,
    fresh_recipes,
    make_engines,
    measure_round,
    measure_search,
    speed_figures,
)
from material import (
    SMALL,
    Shape,
    draw_suite,
    make_processor,
    move,
    random_vlm,
    text_sizes,
    with_answers,
)
from peers import Answers
from rich.console import Console
from rich.table import Table
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from merit_opt.data.prompts import said
from merit_opt.data.sample import Media
from merit_opt.data.suite import Suite
from merit_opt.evaluation.settings import GIB, EngineSettings
from merit_opt.models.alignment import align, layer_tensor
from merit_opt.models.families import family_of
from merit_opt.models.families.family import InPrompt, VisualFeatures
from merit_opt.models.features import FeatureStore, feature_identity, feature_key
from merit_opt.models.flops import matrix_rate
from merit_opt.models.labels import label_tokens
from merit_opt.models.live import LiveMerge
from merit_opt.models.pair import ModelPair
from merit_opt.models.prompt import encode_prompt
from merit_opt.models.waiting import WaitingWeights
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Work:
    """How much is asked.

    Attributes:
        shape: Of the VLM; its vision tower is a stub, as features are synthetic.
        videos: With 2 questions each.
        grid: Patches over time, height and width of each.
        settings: Of the engines.
        proposals: Of the search at most.
        rounds: At most.
    """

    shape: Shape
    videos: int
    grid: tuple[int, int, int]
    settings: EngineSettings
    proposals: int
    rounds: int


BIG = Work(
    shape=Shape(28, 3584, 18944, 28, 4, 152064, 1, 1280, 3420, 16),
    videos=150,
    grid=(30, 20, 40),
    settings=replace(SETTINGS, features_gib=16, levels_gib=16),
    proposals=30,
    rounds=3,
)
TINY = replace(
    BIG,
    shape=replace(SMALL, layers=3, hidden=64, intermediate=128, heads=4, kv_heads=2,
                  vision_depth=1, vision_hidden=32, vision_intermediate=64, vision_heads=2),
    videos=3,
    grid=(3, 8, 10),
    settings=SETTINGS,
    proposals=4,
    rounds=2,
)  # fmt: skip
QUESTIONS_PER_VIDEO = 2
SWITCHES = 20


def measure_7b(options: argparse.Namespace, say: Say, machine: Mapping[str, Any]) -> int:
    """Measure, write the result, print one table; 2 where there is no CUDA device."""
    if not torch.cuda.is_available() and not options.tiny:
        say("--shape 7b needs a CUDA device, and this machine has none.")
        return 2
    torch.set_grad_enabled(False)
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    work = asked(options)
    deadline = time.perf_counter() + options.seconds
    with tempfile.TemporaryDirectory() as folder:
        bench = synthetic_bench(work, device, Path(folder), say)
        for turn, recipe in enumerate(islice(fresh_recipes(bench.pair.n_layers), work.rounds)):
            begun = time.perf_counter()
            measure_round(bench, recipe, turn)
            if time.perf_counter() + 2 * (time.perf_counter() - begun) > deadline:
                break
        left = max(0.0, deadline - time.perf_counter())
        trial = statistics.median(t.wall for t in bench.taken[FULL])
        proposals = min(work.proposals, max(2, int(left / trial)))
        found = measure_search(bench, proposals, OBJECTIVE, every=max(2, proposals - 1))
        milliseconds = switch_milliseconds(bench.pair, device)
    result = big_result(bench, found, milliseconds, device) | {"machine": dict(machine)}
    out: Path = options.out
    if out.name == "result.json":
        out = out.with_name("result-7b.json")
    out.write_text(json.dumps(result, indent=2) + "\n")
    Console().print(big_table(result))
    return 0


def asked(options: argparse.Namespace) -> Work:
    """With another number of videos, as many levels of hidden states fit."""
    work = TINY if options.tiny else BIG
    if options.videos is None:
        return work
    levels = work.settings.levels_gib * options.videos / work.videos
    settings = replace(work.settings, levels_gib=levels)
    return replace(work, videos=options.videos, settings=settings)


def synthetic_bench(work: Work, device: torch.device, folder: Path, say: Say) -> Bench:
    """A live pair, features in the engine's own store, right options drawn."""
    say("random weights")
    pair = random_pair(work.shape, device)
    media = [Media(folder / f"{i}.mp4", f"{i:024x}") for i in range(work.videos)]
    suite = two_a_video(draw_suite(media, seed=0))
    say("synthetic features")
    features = fill_store(pair, suite, work, folder / "cache" / "features")
    engines = make_engines(pair, folder / "cache", work.settings, say)
    say("the unmerged model, and the right options drawn from its answers")
    with engines[SEARCH] as engine:
        base = engine.evaluate(constructors.base(pair.n_layers), suite)
    suite = with_answers(suite, base, seed=0)
    for engine in engines.values():
        for known in (folder / "cache" / "evaluations").glob("*"):
            known.unlink()
        with engine:
            base = engine.evaluate(constructors.base(pair.n_layers), suite)
    peer = SyntheticPeer(pair, suite, features)
    return Bench(folder / "cache", pair, suite, base, {STRONGEST: peer}, engines, say)


def random_pair(shape: Shape, device: torch.device) -> ModelPair:
    """Both models' weights made on the device; of the backbone only attention exists."""
    model = random_vlm(shape, device, seed=0)
    config = Qwen2Config(**text_sizes(shape))
    with torch.device("meta"):
        alignment = align(model, Qwen2ForCausalLM._from_config(config))
    generator = torch.Generator(device).manual_seed(1)
    weights: dict[Any, Tensor] = {}
    for tensor in (t for t in alignment.tensors if t.part == "attention"):
        weights[tensor] = layer_tensor(model, tensor).detach().clone()
        move(weights[tensor], generator)
    waiting = WaitingWeights(model.dtype, weights, {})
    live = LiveMerge(model, waiting, None, alignment)
    family = family_of("qwen2_5_vl")
    return ModelPair(model, make_processor(), family, alignment, live, "synthetic", lambda: "none")


def two_a_video(suite: Suite) -> Suite:
    """The first two questions of each video."""
    return suite.only(s.id for s in suite.samples if int(s.id[-1]) < QUESTIONS_PER_VIDEO)


def fill_store(
    pair: ModelPair, suite: Suite, work: Work, folder: Path
) -> dict[str, VisualFeatures]:
    """Group -> features, put where the engine looks for them."""
    identity = feature_identity(pair, work.settings.threads)
    store = FeatureStore(folder, int(work.settings.features_gib * GIB))
    generator = torch.Generator(pair.device).manual_seed(2)
    found: dict[str, VisualFeatures] = {}
    for sample in suite.samples:
        if sample.group_id not in found:
            made = random_features(pair, work.grid, generator)
            found[sample.group_id] = made
            store.get(
                feature_key(identity, sample.media, suite.asking.frames, work.settings.decoder),
                lambda m=made: m,
            )
    return found


def random_features(
    pair: ModelPair, grid: tuple[int, int, int], generator: torch.Generator
) -> VisualFeatures:
    """Of the spread of the text's embeddings."""
    width = pair.model.get_decoder().config.hidden_size
    count = grid[0] * grid[1] * grid[2] // 4
    tokens = torch.empty(count, width, dtype=pair.model.dtype, device=pair.device)
    tokens.normal_(0.0, width**-0.5, generator=generator)
    shown = InPrompt("video", 1, ("<|video_pad|>" * count,), pair.model.config.video_token_id)
    return VisualFeatures(tokens, shown, grid=grid, seconds_per_grid=1.0)


class SyntheticPeer:
    """The strongest peer: stock forward a question, features on the device, last position only.

    It merges through the project's switch: lerp from retained originals, as it would itself.
    """

    def __init__(
        self, pair: ModelPair, suite: Suite, features: Mapping[str, VisualFeatures]
    ) -> None:
        self._pair = pair
        self._letters = [tokens[0] for tokens in label_tokens(pair.processor, "ABCD")]
        self._features = features
        self._samples = suite.samples
        self._prompts = {
            s.id: encode_prompt(
                pair, suite.asking.prompt, said(suite.asking.prompt, s, ()), features[s.group_id]
            )
            for s in suite.samples
        }
        self.inputs: dict[str, dict[str, Tensor]] = {}

    @torch.no_grad()
    def __call__(self, recipe: Recipe) -> Answers:
        """Letter log-probabilities under `recipe`."""
        with self._pair.merged(recipe) as model:
            return {s.id: self._ask(model, s.id, s.group_id) for s in self._samples}

    def _ask(self, model: Any, name: str, group: str) -> list[float]:
        prompt = self._prompts[name]
        embeddings = model.get_input_embeddings()(prompt.input_ids.to(self._pair.device)[None])
        embeddings[0, prompt.is_visual.to(self._pair.device)] = self._features[group].tokens
        output = model(
            inputs_embeds=embeddings,
            position_ids=prompt.position_ids[:, None].to(self._pair.device),
            use_cache=False,
            logits_to_keep=1,
        )
        return output.logits[0, -1, self._letters].float().log_softmax(-1).tolist()


def switch_milliseconds(pair: ModelPair, device: torch.device) -> list[float]:
    """Of switches that change every layer, the device waited for."""
    found: list[float] = []
    with pair.switching() as switch:
        for recipe in islice(fresh_recipes(pair.n_layers), SWITCHES):
            wait(device)
            started = time.perf_counter()
            switch(recipe)
            wait(device)
            found.append(1000 * (time.perf_counter() - started))
    return found[1:]  # the first also keeps the originals


def wait(device: torch.device) -> None:
    """For everything given to the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def big_result(
    bench: Bench, found: SearchFound, milliseconds: Sequence[float], device: torch.device
) -> dict[str, Any]:
    """Everything measured."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    costs = bench.costs[FULL]
    rate = matrix_rate(device, bench.pair.model.dtype)
    return {
        **speed_figures(bench, found, "wall"),
        "device": name,
        "matrix_tflops": rate / 1e12,
        "achieved_tflops": statistics.median(c.flops / (c.load + c.forward) for c in costs) / 1e12,
        "utilisation": statistics.median(c.utilisation for c in costs),
        "switch_milliseconds": statistics.median(milliseconds),
        "questions": len(bench.suite.samples),
        "questions_saved": statistics.mean(
            c.questions_saved / len(bench.suite.samples) for c in found.costs
        ),
        "peak_gib": (costs[-1].peak_bytes or 0) / GIB,
        "engine_against_peer_largest_difference": max(bench.agreement),
    }


def big_table(result: Mapping[str, Any]) -> Table:
    """One row a figure, and what was aimed at."""
    shown = Table(title=f"{result['questions']} questions, 7B shape, {result['device']}")
    for column in ("", "measured", "aim"):
        shown.add_column(column, justify="left" if not column else "right")
    seconds = result["seconds"]
    shown.add_row("full trial, s", f"{seconds[FULL]['median']:.2f}", "22 at most on an H200")
    shown.add_row("from a third, s", f"{seconds[THIRD]['median']:.2f}", "")
    shown.add_row("search trial, s", f"{seconds[SEARCH]['mean']:.2f}", "")
    shown.add_row("strongest peer, s", f"{seconds[STRONGEST]['median']:.2f}", "")
    shown.add_row("full / strongest", f"{result['full_vs_strongest']:.2f}", "2")
    shown.add_row("search / strongest", f"{result['search_vs_strongest']:.2f}", "4.5")
    shown.add_row("TFLOP/s", f"{result['achieved_tflops']:.1f}", "")
    shown.add_row("share of matrix rate", f"{result['utilisation']:.2f}", "0.75")
    shown.add_row("switch, ms", f"{result['switch_milliseconds']:.2f}", "5 at most")
    return shown
