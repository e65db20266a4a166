"""What a lineage of tiny models is, and the two models it begins as: all weights random."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
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
from merit_opt.files import WRITING, write_text
from merit_opt.models.tiny import WEIGHTS
from merit_opt.models.tiny.backbone import start_over
from merit_opt.models.tiny.damage import Damage
from merit_opt.models.tiny.pair import BACKBONE
from merit_opt.models.tiny.plant import SOURCE, let_others_read, save_vlm, whole

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
        planted: What is planted, for each planted VLM.
    """

    layers: int
    hidden: int
    seed: int
    planted: tuple[Damage, ...]

    def check(self) -> None:
        """All of it must fit.

        Raises:
            UserError: It does not; the message says what was expected.
        """
        if self.layers < LEAST_LAYERS:
            raise UserError(f"--layers must be {LEAST_LAYERS} or more, got {self.layers}")
        if self.hidden < LEAST_HIDDEN or self.hidden % (2 * HEADS):
            raise UserError(
                f"--hidden must be a multiple of {2 * HEADS} and {LEAST_HIDDEN} or more, "
                f"got {self.hidden}"
            )
        if self.seed < 0:
            raise UserError(f"--seed must be 0 or more, got {self.seed}")
        for damage in self.planted:
            damage.require(self.layers)

    def claim(self, out: Path, schedules: Mapping[str, Any]) -> None:
        """Begin in a folder, or go on in one where the same lineage was begun with the same schedules.

        What is planted may differ: more can be planted in a pair that is there.

        Raises:
            UserError: The folder holds something else, or cannot be written.
        """
        own = {"layers": self.layers, "hidden": self.hidden, "seed": self.seed}
        told = json.dumps({"schema": 1, **own, "schedules": schedules}, indent=1) + "\n"
        path = out / LINEAGE
        try:
            there = {p.name for p in out.iterdir() if not p.name.startswith(WRITING)}
            begun = path.read_text(encoding="utf-8") if LINEAGE in there else None
        except FileNotFoundError:
            there, begun = set[str](), None
        except OSError as error:
            raise UserError(f"cannot use {out}: {error.strerror}; name a folder") from error
        if begun is None and there:
            raise UserError(f"{out} holds other files; name an empty folder or a new one")
        if begun is not None and begun != told:
            raise UserError(
                f"{out} holds another lineage, or one with other schedules ({LINEAGE} there says "
                "which); give its options, or name a new folder"
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
        if not (out / SOURCE).exists():
            with whole(out / SOURCE) as folder:
                save_vlm(vlm, folder, like=WEIGHTS / SOURCE)
        if not (out / BACKBONE).exists():
            with whole(out / BACKBONE) as folder:
                self._save_backbone(vlm, folder)

    def _save_backbone(self, vlm: Any, folder: Path) -> None:
        config = AutoConfig.from_pretrained(  # nosec B615  # ours
            WEIGHTS / BACKBONE, local_files_only=True
        )
        self._resize(config)
        backbone = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        backbone.model.load_state_dict(vlm.model.language_model.state_dict())
        backbone.save_pretrained(folder)
        let_others_read(folder)

    def _resize(self, config: PreTrainedConfig) -> None:
        config.num_hidden_layers = self.layers
        config.hidden_size = self.hidden
        config.intermediate_size = 8 * self.hidden // 3
        config.layer_types = ["full_attention"] * self.layers
