"""Qwen2-VL (`Qwen2VLForConditionalGeneration`) and the Qwen2 text models it grew from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from merit_opt.models.families.family import EncodedPrompt, VideoFeatures

VIDEO_TOKEN_TYPE = 2


class Qwen2VL:
    """M-RoPE positions; video placeholders replaced by projected patches."""

    model_type = "qwen2_vl"
    backbone_types: tuple[str, ...] = ("qwen2",)

    def encode_video(self, model: Any, processor: Any, frames: NDArray[np.uint8]) -> VideoFeatures:
        """See `Family.encode_video`."""
        inputs = processor.video_processor(
            videos=[frames], do_sample_frames=False, return_tensors="pt"
        )
        grid = inputs["video_grid_thw"].to(model.device)
        pixels = inputs["pixel_values_videos"].to(model.device)
        (tokens,) = model.get_video_features(pixels, grid).pooler_output
        time, height, width = (int(n) for n in grid[0])
        return VideoFeatures(tokens, (time, height, width))

    def encode_prompt(
        self, model: Any, processor: Any, text: str, features: VideoFeatures
    ) -> EncodedPrompt:
        """See `Family.encode_prompt`."""
        content = [{"type": "video"}, {"type": "text", "text": text}]
        chat = processor.apply_chat_template(
            [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
        )
        expanded = chat.replace(
            processor.video_token, processor.video_token * len(features.tokens), 1
        )
        input_ids = processor.tokenizer(expanded, return_tensors="pt")["input_ids"]
        token_types = (input_ids == processor.video_token_id).int() * VIDEO_TOKEN_TYPE
        position_ids, _ = model.model.get_rope_index(
            input_ids,
            mm_token_type_ids=token_types,
            video_grid_thw=torch.tensor([features.grid]),
        )
        return EncodedPrompt(input_ids[0], position_ids[:, 0])

    def forward_inputs(
        self, model: Any, prompts: Sequence[EncodedPrompt], features: Sequence[VideoFeatures]
    ) -> dict[str, Tensor]:
        """See `Family.forward_inputs`."""
        input_ids = torch.stack([p.input_ids for p in prompts]).to(model.device)
        embeddings = model.get_input_embeddings()(input_ids)
        is_video = (input_ids == model.config.video_token_id)[..., None]
        tokens = torch.cat([f.tokens for f in features]).to(embeddings)
        positions = torch.stack([p.position_ids for p in prompts], dim=1)
        return {
            "inputs_embeds": embeddings.masked_scatter(is_video, tokens),
            "position_ids": positions.to(model.device),
            "attention_mask": torch.ones_like(input_ids),
        }
