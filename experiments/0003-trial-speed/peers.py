"""The three peers, and the log-probabilities of stock transformers, one question at a time."""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText

from merit_opt.data.media.video import read_video
from merit_opt.data.prompts import said
from merit_opt.data.sample import Sample
from merit_opt.data.suite import Suite
from merit_opt.models.labels import label_tokens
from merit_opt.models.pair import ModelPair
from merit_opt.recipe.recipe import Recipe

Answers = dict[str, list[float]]


@dataclass
class Weights:
    """Attention of both models beside a live one, merged in place from retained originals."""

    model: Any
    originals: list[dict[str, Tensor]]
    backbone: list[dict[str, Tensor]]

    @classmethod
    def of(cls, model: Any, backbone: Any) -> "Weights":
        """Of a live VLM and its loaded backbone."""
        copies = [{n: p.clone() for n, p in layer.items()} for layer in attention(model)]
        return cls(model, copies, attention(backbone))

    @torch.no_grad()
    def apply(self, recipe: Recipe) -> None:
        """Make the live model what the recipe says."""
        coefficients = recipe.coefficients()
        layers = zip(attention(self.model), self.originals, self.backbone, strict=True)
        for index, (live, own, other) in enumerate(layers):
            coefficient = coefficients.get(index, 0.0)
            for name, parameter in live.items():
                torch.lerp(own[name], other[name], coefficient, out=parameter)


def attention(model: Any) -> list[dict[str, Tensor]]:
    """Parameters of each decoder layer's self-attention."""
    return [dict(layer.self_attn.named_parameters()) for layer in model.get_decoder().layers]


@dataclass
class Stock:
    """Stock forwards of one suite's questions.

    Attributes:
        pair: Gives the processor, and families' names of things; its model is not used.
        suite: The questions.
        decoding: CPU seconds spent so far in reading and resizing videos.
    """

    pair: ModelPair
    suite: Suite
    decoding: float = 0.0
    _letters: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        most = max((s.labels for s in self.suite.samples), key=len)
        self._letters = [tokens[0] for tokens in label_tokens(self.pair.processor, most)]

    def inputs(self, sample: Sample) -> Any:
        """What `model(**inputs)` takes, from the video file on."""
        started = time.process_time()
        video = read_video(sample.media[0].path, self.suite.asking.frames)
        metadata = {
            "total_num_frames": video.sampling.total,
            "fps": video.sampling.fps,
            "frames_indices": list(video.sampling.indices),
        }
        inputs = self.pair.processor(
            text=[self.chat(sample)],
            videos=[video.frames],
            video_metadata=[metadata],
            do_sample_frames=False,
            return_tensors="pt",
        )
        self.decoding += time.process_time() - started
        return inputs

    def chat(self, sample: Sample) -> str:
        """The chat-templated question."""
        text = said(self.suite.asking.prompt, sample, ())
        content = [{"type": "video"}, {"type": "text", "text": text}]
        return self.pair.processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )

    @torch.inference_mode()
    def answers(self, model: Any) -> Answers:
        """Letter log-probabilities of `model`, videos read and encoded for every question."""
        return {s.id: self.letters(s, model(**self.inputs(s))) for s in self.suite.samples}

    def letters(self, sample: Sample, output: Any) -> list[float]:
        """Log-probabilities over the sample's letters at the last position."""
        logits = output.logits[0, -1, self._letters[: len(sample.options)]]
        return logits.float().log_softmax(-1).tolist()


@dataclass
class DiskPeer:
    """Merge, write a checkpoint, load it, and read, encode and ask one question at a time."""

    weights: Weights
    stock: Stock
    folder: Path

    def __call__(self, recipe: Recipe) -> Answers:
        """Letter log-probabilities under `recipe`."""
        self.weights.apply(recipe)
        self.weights.model.save_pretrained(self.folder)
        model = AutoModelForImageTextToText.from_pretrained(
            self.folder, dtype=self.weights.model.dtype, local_files_only=True
        )
        answers = self.stock.answers(model.eval())
        shutil.rmtree(self.folder)
        return answers


@dataclass
class MemoryPeer:
    """Merge in place, then as the disk peer."""

    weights: Weights
    stock: Stock

    def __call__(self, recipe: Recipe) -> Answers:
        """Letter log-probabilities under `recipe`."""
        self.weights.apply(recipe)
        return self.stock.answers(self.weights.model)


class StrongestPeer:
    """Merge in place, embeddings and positions made once, logits of the last position only."""

    def __init__(self, weights: Weights, stock: Stock) -> None:
        self._weights = weights
        self._stock = stock
        self.inputs = embedded(weights.model, stock)

    @torch.inference_mode()
    def __call__(self, recipe: Recipe) -> Answers:
        """Letter log-probabilities under `recipe`."""
        self._weights.apply(recipe)
        model, stock = self._weights.model, self._stock
        return {
            s.id: stock.letters(s, model(**self.inputs[s.id], use_cache=False, logits_to_keep=1))
            for s in stock.suite.samples
        }


@torch.inference_mode()
def embedded(model: Any, stock: Stock) -> Mapping[str, dict[str, Tensor]]:
    """Sample id -> embeddings and position ids, as the stock forward hands them on."""
    seen: dict[str, Tensor] = {}
    handle = model.get_decoder().register_forward_pre_hook(
        lambda _module, _args, options: seen.update(options), with_kwargs=True
    )
    found: dict[str, dict[str, Tensor]] = {}
    try:
        for sample in stock.suite.samples:
            model(**stock.inputs(sample))
            found[sample.id] = {k: seen[k] for k in ("inputs_embeds", "position_ids")}
    finally:
        handle.remove()
    return found
