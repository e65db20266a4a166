"""The language models of the published VLMs, as their configuration files describe them.

Widths and counts alone, of one the vision side's too: what the sizes of docs/cluster.md follow from. Hidden sizes and layers stand in
docs/pairs.md too.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from merit_opt.models.families import FAMILIES


@dataclass(frozen=True)
class Published:
    """One VLM of the hub.

    Attributes:
        family: Model type of the VLM.
        text: Model type of its text configuration.
        widths: Hidden size, layers, attention heads, key/value heads, MLP width.
        vocabulary: Tokens.
        dtype: In which it is stored.
        more: What else its text configuration sets.
        vision: What its vision configuration sets, where the whole VLM is counted.
    """

    family: str
    text: str
    widths: tuple[int, int, int, int, int]
    vocabulary: int
    dtype: str = "bfloat16"
    more: dict[str, Any] = field(default_factory=dict)
    vision: dict[str, Any] = field(default_factory=dict)

    @property
    def text_config(self) -> dict[str, Any]:
        hidden, layers, heads, shared, mlp = self.widths
        return {
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": shared,
            "intermediate_size": mlp,
            "vocab_size": self.vocabulary,
            **SAME,
            **self.more,
        }

    def write_vlm(self, folder: Path) -> None:
        text = {"model_type": self.text, "dtype": self.dtype, **self.text_config}
        described = {"model_type": self.family, "dtype": self.dtype, "text_config": text}
        seen = {"vision_config": self.vision} if self.vision else {}
        _write(folder, described | seen)

    def write_text(self, folder: Path) -> None:
        """The text model it grew from, and every one tuned from the same ancestor."""
        kind = FAMILIES[self.family].backbones[self.text]
        _write(folder, {"model_type": kind, "dtype": self.dtype, **self.text_config})


def _write(folder: Path, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))


# No size depends on them, and a pair must agree in them.
SAME = {"rms_norm_eps": 1e-6, "rope_theta": 1e6}
HEADS_OF_128 = {"head_dim": 128}
EXPERTS = {
    "moe_intermediate_size": 768,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "decoder_sparse_step": 1,
}
QWEN_7B = (3584, 28, 28, 4, 18944)
LLAMA_3_8B = (4096, 32, 32, 8, 14336)

PUBLISHED = {
    "Qwen/Qwen2-VL-2B-Instruct": Published(
        "qwen2_vl", "qwen2_vl_text", (1536, 28, 12, 2, 8960), 151_936
    ),
    "Qwen/Qwen2-VL-7B-Instruct": Published("qwen2_vl", "qwen2_vl_text", QWEN_7B, 152_064),
    "Qwen/Qwen2.5-VL-3B-Instruct": Published(
        "qwen2_5_vl", "qwen2_5_vl_text", (2048, 36, 16, 2, 11008), 151_936
    ),
    "Qwen/Qwen2.5-VL-7B-Instruct": Published("qwen2_5_vl", "qwen2_5_vl_text", QWEN_7B, 152_064),
    "Qwen/Qwen2.5-VL-72B-Instruct": Published(
        "qwen2_5_vl",
        "qwen2_5_vl_text",
        (8192, 80, 64, 8, 29568),
        152_064,
        vision={"hidden_size": 1280, "intermediate_size": 3456, "out_hidden_size": 8192},
    ),
    "Qwen/Qwen3-VL-4B-Instruct": Published(
        "qwen3_vl", "qwen3_vl_text", (2560, 36, 32, 8, 9728), 151_936, more=HEADS_OF_128
    ),
    "Qwen/Qwen3-VL-8B-Instruct": Published(
        "qwen3_vl", "qwen3_vl_text", (4096, 36, 32, 8, 12288), 151_936, more=HEADS_OF_128
    ),
    "Qwen/Qwen3-VL-30B-A3B-Instruct": Published(
        "qwen3_vl_moe",
        "qwen3_vl_moe_text",
        (2048, 48, 32, 4, 6144),
        151_936,
        more=HEADS_OF_128 | EXPERTS,
    ),
    "OpenGVLab/InternVL3-8B-hf": Published("internvl", "qwen2", QWEN_7B, 151_674),
    "llava-hf/llava-onevision-qwen2-7b-ov-hf": Published(
        "llava_onevision", "qwen2", QWEN_7B, 152_000, "float16"
    ),
    "llava-hf/LLaVA-NeXT-Video-7B-hf": Published(
        "llava_next_video", "llama", (4096, 32, 32, 32, 11008), 32_064
    ),
    "lkhl/VideoLLaMA3-7B-Image-HF": Published("video_llama_3", "qwen2", QWEN_7B, 152_064),
    "HuggingFaceTB/SmolVLM2-2.2B-Instruct": Published(
        "smolvlm", "llama", (2048, 24, 32, 32, 8192), 49_280, "float32"
    ),
    "mistralai/Mistral-Small-3.1-24B-Instruct-2503": Published(
        "mistral3", "mistral", (5120, 40, 32, 8, 32768), 131_072, more=HEADS_OF_128
    ),
    "HuggingFaceM4/Idefics3-8B-Llama3": Published("idefics3", "llama", LLAMA_3_8B, 128_259),
    "llava-hf/llama3-llava-next-8b-hf": Published("llava_next", "llama", LLAMA_3_8B, 128_320),
    "HuggingFaceM4/idefics2-8b": Published("idefics2", "mistral", LLAMA_3_8B, 32_003),
}
