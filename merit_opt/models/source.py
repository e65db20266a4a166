"""A pair as two checkpoint folders: checked before any weights load, then loaded."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
)
from transformers.utils.logging import disable_progress_bar

from merit_opt.errors import PairMismatch, UserError
from merit_opt.models.alignment import Alignment, align, layer_tensor
from merit_opt.models.families import family_of
from merit_opt.models.families.family import Family
from merit_opt.models.fingerprint import folder_digest
from merit_opt.models.live import LiveMerge
from merit_opt.models.pair import ModelPair
from merit_opt.models.rope import require_float32_rope

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

Place = Literal["device", "host"]


@dataclass(frozen=True)
class PairSource:
    """Where a VLM and its backbone lie.

    Attributes:
        vlm: Folder of the VLM, as `save_pretrained` writes it.
        backbone: Folder of the text model it grew from.
        dtype: Compute dtype of both, by name; None = the one the VLM is stored in.

    Raises:
        UserError: A folder is no checkpoint, or the dtype has no such name.
    """

    vlm: Path
    backbone: Path
    dtype: str | None

    def __post_init__(self) -> None:
        for role, folder in (("pair.vlm", self.vlm), ("pair.backbone", self.backbone)):
            _require_checkpoint(role, folder)
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UserError(f"pair.dtype is one of {', '.join(DTYPES)}; got {self.dtype!r}")

    @cached_property
    def digest(self) -> str:
        """12 hex digits over both folders and the compute dtype."""
        parts = [folder_digest(self.vlm), folder_digest(self.backbone), self.dtype]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @cached_property
    def family(self) -> Family:
        """The VLM's family."""
        return family_of(self.vlm_config.model_type)

    @cached_property
    def alignment(self) -> Alignment:
        """How the two language models correspond, found on the meta device: loads no weights.

        Raises:
            PairMismatch: They are not the same architecture; the message lists what differs.
        """
        vlm, backbone = self.vlm_config, self._backbone_config
        _require_kin(self.family, vlm.get_text_config().model_type, backbone, self.backbone)
        if problems := list(_config_differences(vlm.get_text_config(), backbone)):
            raise PairMismatch(
                "; ".join(problems) + f". Is {self.backbone} the model {self.vlm} was tuned from?"
            )
        with torch.device("meta"):
            return align(
                AutoModelForImageTextToText.from_config(vlm),
                AutoModelForCausalLM.from_config(backbone),
                self.family.parts,
            )

    @property
    def notes(self) -> tuple[str, ...]:
        """What is unusual about the pair but allowed."""
        ours = self.vlm_config.get_text_config().vocab_size
        theirs = self._backbone_config.vocab_size
        if ours == theirs:
            return ()
        return (
            f"vocabularies differ ({ours} and {theirs}): fine, embeddings and heads are not merged",
        )

    def load(self, device: str, backbone: Place) -> ModelPair:
        """The VLM on `device`, ready to be merged in place.

        Args:
            device: As torch names it.
            backbone: Where the backbone's attention waits: `device` puts each layer's beside the
                VLM's, `host` into pinned memory. Its other parts, four fifths of a layer and
                needed by no proposal, always wait in the mapped file.

        Raises:
            UserError: Weights or processor are damaged, or not those that the config describes.
        """
        alignment = self.alignment
        disable_progress_bar()
        dtype = "auto" if self.dtype is None else DTYPES[self.dtype]
        model = _load_model(AutoModelForImageTextToText, self.vlm, dtype).to(device)
        _own_memory(model)
        if self.dtype is None and (stored := _stored_dtypes(model)) != {model.dtype}:
            raise UserError(f"{self.vlm} mixes dtypes {sorted(map(str, stored))}: set pair.dtype")
        donor = _load_model(AutoModelForCausalLM, self.backbone, model.dtype)
        weights = {
            tensor: _placed(
                layer_tensor(donor, tensor).detach(),
                layer_tensor(model, tensor).device,
                backbone,
            )
            if tensor.part == "attention"
            else layer_tensor(donor, tensor).detach()
            for tensor in alignment.tensors
        }
        return ModelPair(
            model=model.eval().requires_grad_(False),
            processor=self.processor,
            family=self.family,
            alignment=alignment,
            live=LiveMerge(model, weights, alignment),
            digest=self.digest,
        )

    @cached_property
    def processor(self) -> Any:
        """The VLM's processor.

        Raises:
            UserError: It cannot be read.
        """
        return _load_processor(self.vlm)

    @cached_property
    def vlm_config(self) -> Any:
        """The VLM's configuration."""
        return _read_config(self.vlm)

    @cached_property
    def _backbone_config(self) -> Any:
        return _read_config(self.backbone)


def _require_kin(family: Family, text: str, backbone: Any, folder: Path) -> None:
    if text not in family.backbones:
        raise PairMismatch(
            f"a {family.model_type} VLM on {text} is not supported; on "
            f"{' or '.join(family.backbones)} it is"
        )
    if backbone.model_type != family.backbones[text]:
        raise PairMismatch(
            f"a {family.model_type} VLM on {text} pairs with {family.backbones[text]}, but "
            f"{folder} is {backbone.model_type}"
        )


def _placed(tensor: torch.Tensor, device: torch.device, place: Place) -> torch.Tensor:
    if place == "device":
        return tensor.to(device)
    return tensor.pin_memory() if device.type == "cuda" else tensor


def _require_checkpoint(role: str, folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{role}: expected a checkpoint folder, but {folder} is none")
    missing = [what for what in ("config.json", "*.safetensors") if not any(folder.glob(what))]
    if missing:
        raise UserError(f"{role}: {folder} holds no {' and no '.join(missing)}")


def _read_config(folder: Path) -> Any:
    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError, TypeError, StrictDataclassError) as error:
        reason = _first_lines(error)
        raise UserError(f"{folder / 'config.json'} cannot be read: {reason}") from None


def _load_model(auto_class: Any, folder: Path, dtype: torch.dtype | str) -> Any:
    try:
        model, info = auto_class.from_pretrained(
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the weights in {folder} cannot be read: {_first_lines(error)}; copy them again"
        ) from None
    # transformers makes up what a checkpoint lacks.
    absent = sorted(info["missing_keys"]) + sorted(row[0] for row in info["mismatched_keys"])
    if absent:
        more = f" (and {len(absent) - 3} more)" if len(absent) > 3 else ""
        raise UserError(
            f"the weights in {folder} lack, or have in another shape than config.json says, "
            f"{', '.join(absent[:3])}{more}; copy the checkpoint again"
        )
    require_float32_rope(model)
    return model


def _own_memory(model: torch.nn.Module) -> None:
    """Weights out of the file's memory map, whose alignment changes how kernels round."""
    for parameter in model.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def _load_processor(folder: Path) -> Any:
    try:
        return AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (ValueError, OSError) as error:
        raise UserError(
            f"the processor in {folder} cannot be read: {_first_lines(error)}"
        ) from None


def _first_lines(error: Exception) -> str:
    return " ".join(" ".join(str(error).splitlines()[:2]).split())


def _stored_dtypes(model: torch.nn.Module) -> set[torch.dtype]:
    return {p.dtype for p in model.parameters()}


def _config_differences(text: Any, backbone: Any) -> Iterator[str]:
    fields = {
        "decoder layers": "num_hidden_layers",
        "hidden size": "hidden_size",
        "attention heads": "num_attention_heads",
        "key/value heads": "num_key_value_heads",
        "MLP width": "intermediate_size",
        "RMS norm epsilon": "rms_norm_eps",
        "activation": "hidden_act",
    }
    for what, field in fields.items():
        ours, theirs = getattr(text, field, None), getattr(backbone, field, None)
        if ours != theirs:
            yield f"{what}: the VLM has {ours}, the backbone has {theirs}"
    ours, theirs = _rope_theta(text), _rope_theta(backbone)
    if ours != theirs:
        yield f"RoPE theta: the VLM has {ours}, the backbone has {theirs}"


def _rope_theta(config: Any) -> float | None:
    return (getattr(config, "rope_parameters", None) or {}).get("rope_theta")
