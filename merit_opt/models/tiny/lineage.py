"""What a lineage of tiny models is, and the two models it begins as: all weights random."""

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    PreTrainedConfig,
)

from merit_opt.errors import UserError
from merit_opt.files import write_text
from merit_opt.models.tiny import WEIGHTS
from merit_opt.models.tiny.backbone import start_over
from merit_opt.models.tiny.pair import BACKBONE
from merit_opt.models.tiny.plant import SOURCE, save_vlm
from merit_opt.models.tiny.stages import PERCEPTION_LAYERS

LINEAGE = "lineage.json"
LEAST_LAYERS = 7
HEADS = 4
LEAST_HIDDEN = 72
"""So many words there are: fewer dimensions cannot hold them at right angles."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a pair is made of.

    Attributes:
        layers: Of the language model.
        hidden: Its hidden size.
        seed: Chooses weights, scenes and clips; 0 or more.
        planted: The layers damaged in each planted VLM, ascending.
    """

    layers: int
    hidden: int
    seed: int
    planted: tuple[tuple[int, ...], ...]

    def check(self) -> None:
        """All of it must fit.

        Raises:
            UserError: It does not; the message says what was expected.
        """
        allowed = range(len(PERCEPTION_LAYERS), self.layers)
        if self.layers < LEAST_LAYERS:
            raise UserError(f"--layers must be {LEAST_LAYERS} or more, got {self.layers}")
        if self.hidden < LEAST_HIDDEN or self.hidden % (2 * HEADS):
            raise UserError(
                f"--hidden must be a multiple of {2 * HEADS} and {LEAST_HIDDEN} or more, "
                f"got {self.hidden}"
            )
        if self.seed < 0:
            raise UserError(f"--seed must be 0 or more, got {self.seed}")
        for chosen in self.planted:
            if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(allowed):
                raise UserError(
                    f"--plant must name different layers of {allowed[0]} to {allowed[-1]}, got "
                    f"{','.join(map(str, chosen))!r}"
                )

    def claim(self, out: Path) -> None:
        """Begin in a folder, or go on in one where the same lineage was begun.

        Raises:
            UserError: The folder holds something else, or cannot be written.
        """
        told = json.dumps({"schema": 1, **asdict(self)}, indent=1) + "\n"
        path = out / LINEAGE
        if not path.exists() and out.exists() and any(out.iterdir()):
            raise UserError(f"{out} holds other files; name an empty folder or a new one")
        if path.exists() and path.read_text(encoding="utf-8") != told:
            raise UserError(
                f"{out} holds another lineage ({LINEAGE} there says which); go on with its "
                "options, or name a new folder"
            )
        write_text(path, told)

    def vlm(self) -> Any:
        """The VLM with all weights random, float32."""
        config = AutoConfig.from_pretrained(  # nosec B615  # ours
            WEIGHTS / SOURCE, local_files_only=True
        )
        text = config.text_config
        self._resize(text)
        half = self.hidden // HEADS // 2
        text.rope_parameters = {**text.rope_parameters, "mrope_section": [half - 2, 1, 1]}
        config.vision_config.hidden_size = self.hidden
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
        start_over(model.model.language_model, self.seed)
        return model.eval().requires_grad_(False)

    def save(self, vlm: Any, out: Path) -> None:
        """Write the VLM and its language model as a backbone, each whole or not at all."""
        _whole(out / SOURCE, lambda folder: save_vlm(vlm, folder, like=WEIGHTS / SOURCE))
        _whole(out / BACKBONE, lambda folder: self._save_backbone(vlm, folder))

    def _save_backbone(self, vlm: Any, folder: Path) -> None:
        config = AutoConfig.from_pretrained(  # nosec B615  # ours
            WEIGHTS / BACKBONE, local_files_only=True
        )
        self._resize(config)
        backbone = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        backbone.model.load_state_dict(vlm.model.language_model.state_dict())
        backbone.save_pretrained(folder)

    def _resize(self, config: PreTrainedConfig) -> None:
        config.num_hidden_layers = self.layers
        config.hidden_size = self.hidden
        config.intermediate_size = 8 * self.hidden // 3
        config.layer_types = ["full_attention"] * self.layers


def planted_name(layers: tuple[int, ...]) -> str:
    """The folder of a planted VLM."""
    return f"vlm_planted_{'_'.join(map(str, layers))}"


def _whole(folder: Path, write: Callable[[Path], None]) -> None:
    if folder.exists():
        return
    fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    try:
        write(fresh)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
