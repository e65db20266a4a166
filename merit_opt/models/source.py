"""A VLM and its text models as checkpoints: compared before any weights load, then loaded."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NewType

import torch
from safetensors import SafetensorError
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
)
from transformers.utils.logging import disable_progress_bar

from merit_opt.errors import PairMismatch, UserError
from merit_opt.models.alignment import AlignedTensor, Alignment, align, require_base
from merit_opt.models.architecture import (
    ACCEPTABLE,
    architecture_notes,
    require_same_architecture,
)
from merit_opt.models.checkpoint import VLM_KEY, Checkpoint, first_lines
from merit_opt.models.disk_names import (
    locate,
    memory_tensors,
    require_complete,
    require_whole,
)
from merit_opt.models.families import family_of
from merit_opt.models.families.family import Family
from merit_opt.models.live import LiveMerge
from merit_opt.models.pair import ModelPair
from merit_opt.models.rope import require_float32_rope
from merit_opt.models.spread import full_is_told, planned
from merit_opt.models.stored import FLOATS, Shard, StoredTensor, read_shards
from merit_opt.models.waiting import Place, WaitingWeights, waiting_weights
from merit_opt.recipe.origin import Named, Origin
from merit_opt.recipe.recipe import Recipe

FolderOrId = NewType("FolderOrId", str)
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class StoredPair:
    """Where the weights lie on disk.

    Attributes:
        vlm: The VLM's mergeable tensors.
        backbone: The backbone's tensor for each.
        kept: Name of a tensor of the language model that is never merged -> where it lies; a head
            that is tied to the embeddings lies nowhere itself.
    """

    vlm: Mapping[AlignedTensor, StoredTensor]
    backbone: Mapping[AlignedTensor, StoredTensor]
    kept: Mapping[str, StoredTensor]


@dataclass(frozen=True)
class PairSource:
    """Where a VLM and its text models are: folders, or repositories of the hub.

    Attributes:
        vlm: The VLM.
        backbone: The text model it grew from, or one tuned from the same ancestor; None = there is
            none, and nothing can be merged that was not merged already.
        base: That ancestor, which rules of task vectors subtract; None = no such rule is used.
        revision: Commit, tag or branch of a VLM on the hub.
        backbone_revision: Of the backbone.
        base_revision: Of the base.
        accept: Differences of the configurations, by field, that are known and accepted.
        dtype: Compute dtype of all, by name; None = the one the VLM is stored in.

    Raises:
        UserError: A folder is no checkpoint, or a dtype or field has no such name.
    """

    vlm: FolderOrId
    backbone: FolderOrId | None
    base: FolderOrId | None
    revision: str | None
    backbone_revision: str | None
    base_revision: str | None
    accept: tuple[str, ...]
    dtype: str | None

    def __post_init__(self) -> None:
        _ = self.checkpoints  # made, and so checked
        if self.dtype is not None and self.dtype not in DTYPES:
            raise UserError(f"pair.dtype is one of {', '.join(DTYPES)}; got {self.dtype!r}")
        if unknown := [field for field in self.accept if field not in ACCEPTABLE]:
            raise UserError(f"pair.accept takes {', '.join(ACCEPTABLE)}; got {unknown}")

    @cached_property
    def vlm_checkpoint(self) -> Checkpoint:
        """The VLM's."""
        return Checkpoint(VLM_KEY, str(self.vlm), self.revision)

    @cached_property
    def backbone_checkpoint(self) -> Checkpoint:
        """The backbone's.

        Raises:
            UserError: There is none.
        """
        if self.backbone is None:
            raise UserError("the pair has no text backbone: give it, pair.backbone=FOLDER_OR_ID")
        return Checkpoint("pair.backbone", str(self.backbone), self.backbone_revision)

    @cached_property
    def base_checkpoint(self) -> Checkpoint | None:
        """The base's, where one is given."""
        if self.base is None:
            return None
        return Checkpoint("pair.base", str(self.base), self.base_revision)

    @property
    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """All that make the pair."""
        texts = () if self.backbone is None else (self.backbone_checkpoint,)
        base = () if self.base_checkpoint is None else (self.base_checkpoint,)
        return (self.vlm_checkpoint, *texts, *base)

    @cached_property
    def digest(self) -> str:
        """12 hex digits over VLM, backbone and compute dtype; downloads what is not here.

        The base is not in it: `ModelPair.identity` adds it for the recipes that need one.
        """
        parts = [self.vlm_checkpoint.digest, self.backbone_checkpoint.digest, self.dtype]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    def origin(self, recipe: Recipe) -> Origin:
        """What a file of the recipe says of the pair; downloads what is not here, loads nothing."""
        needed = self.base_checkpoint if recipe.needs_base else None
        return Origin(
            vlm=_named(self.vlm_checkpoint),
            backbone=_named(self.backbone_checkpoint),
            base=None if needed is None else _named(needed),
        )

    @cached_property
    def family(self) -> Family:
        """The VLM's family."""
        return family_of(self.vlm_config.model_type)

    @cached_property
    def alignment(self) -> Alignment:
        """How the language models correspond, found on the meta device: loads no weights.

        Raises:
            PairMismatch: They are not the same architecture; the message lists what differs.
        """
        return self._aligned(self.backbone_checkpoint, self.accept)

    @cached_property
    def shards(self) -> tuple[Shard, ...]:
        """All weights files of the VLM, downloaded where they are not here; reads headers only.

        Raises:
            UserError: The checkpoint is incomplete or torn.
        """
        return read_shards(self.vlm_checkpoint.folder)

    @cached_property
    def stored(self) -> StoredPair:
        """Where every aligned tensor lies on disk; downloads what is not here, reads headers only.

        Raises:
            UserError: A checkpoint is incomplete or torn, or not what its configuration describes.
        """
        alignment = self.alignment
        on_disk = memory_tensors(self.vlm_skeleton, self.shards)
        require_complete(self.vlm_skeleton, on_disk)
        return StoredPair(
            vlm=locate(self.vlm_skeleton, alignment, on_disk),
            backbone=self._located(self.backbone_checkpoint),
            kept={name: on_disk[name][0] for name in alignment.kept if name in on_disk},
        )

    @cached_property
    def stored_base(self) -> Mapping[AlignedTensor, StoredTensor]:
        """Where every aligned tensor of the base lies; downloads it if it is not here.

        Raises:
            UserError: There is no base, it is not the same architecture, or it is incomplete.
        """
        self.require_base_fits()
        return self._located(self._base)

    @cached_property
    def compute_dtype(self) -> torch.dtype:
        """The dtype of every weight of the live model.

        Raises:
            UserError: The VLM is stored in several and none was chosen, or in none.
        """
        if self.dtype is not None:
            return DTYPES[self.dtype]
        codes = {t.dtype for s in self.shards for t in s.tensors if t.dtype in FLOATS}
        if len(codes) > 1:
            raise UserError(f"{self.vlm} mixes dtypes {', '.join(sorted(codes))}: set pair.dtype")
        if not codes:
            raise UserError(
                f"the weights of {self.vlm} are none of {', '.join(FLOATS)}: give a checkpoint "
                "that is not quantised"
            )
        dtype = FLOATS[codes.pop()]
        if dtype not in DTYPES.values():
            raise UserError(f"{self.vlm} is stored in {dtype}: set pair.dtype")
        return dtype

    @property
    def notes(self) -> tuple[str, ...]:
        """What is unusual about the pair but allowed."""
        return tuple(architecture_notes(self.vlm_checkpoint, self.backbone_checkpoint))

    def require(self, recipe: Recipe) -> None:
        """The recipe must fit the pair.

        Raises:
            UserError: It is for another number of layers, merges what this pair keeps, or needs
                a base that the pair does not give, or that is another architecture.
        """
        self.alignment.require(recipe)
        require_base(recipe, is_given=self.base is not None)
        if recipe.needs_base:
            self.require_base_fits()

    def require_base_fits(self) -> None:
        """The base must be of the backbone's architecture; nothing is downloaded but its config.

        It is only subtracted, never run: what decides how weights are used is free in it.

        Raises:
            UserError: There is none, or it is another.
        """
        self._aligned(self._base, ACCEPTABLE)

    def load(self, device: str, backbone: Place) -> ModelPair:
        """The VLM on `device`, ready to be merged in place.

        Args:
            device: As `resolve_device` returns it.
            backbone: Where the backbone's attention waits: `device` puts each layer's beside
                the VLM's, `host` into pinned memory. Its other parts, four fifths of a layer
                and needed by no proposal, always wait on disk, and so does all of the base.

        Raises:
            UserError: Weights or processor are damaged, or not those that the config describes;
                or the GPUs do not hold them.
        """
        stored, dtype = self.stored, self.compute_dtype
        plan = planned(self.vlm_config, dtype, self.alignment, device, backbone)
        plan.require_room()
        disable_progress_bar()
        with full_is_told():
            model = _load_vlm(self.vlm_checkpoint.folder, dtype, plan.gpus)
            if plan.gpus is None:
                model.to(device)
            waiting = waiting_weights(stored.backbone, model, backbone)
        _own_memory(model)
        base = None if self.base is None else lambda: self._waiting_base(model.dtype)
        return ModelPair(
            model=model.eval().requires_grad_(False),
            processor=self.processor,
            family=self.family,
            alignment=self.alignment,
            live=LiveMerge(model, waiting, base, self.alignment),
            digest=self.digest,
            base_digest=lambda: self._base.digest,
        )

    @cached_property
    def processor(self) -> Any:
        """The VLM's processor.

        Raises:
            UserError: It cannot be read.
        """
        return _load_processor(self.vlm_checkpoint.described)

    @cached_property
    def vlm_config(self) -> Any:
        """The VLM's configuration."""
        return self.vlm_checkpoint.config

    @cached_property
    def vlm_skeleton(self) -> Any:
        """The VLM without weights, on the meta device."""
        with torch.device("meta"):
            return AutoModelForImageTextToText.from_config(self.vlm_config)

    @property
    def _base(self) -> Checkpoint:
        if self.base_checkpoint is None:
            raise UserError("the pair has no base: give it, pair.base=FOLDER_OR_ID")
        return self.base_checkpoint

    def _waiting_base(self, dtype: torch.dtype) -> WaitingWeights:
        return WaitingWeights(dtype, {}, self.stored_base)

    def _aligned(self, text: Checkpoint, accept: Sequence[str]) -> Alignment:
        require_same_architecture(self.family, self.vlm_checkpoint, text, accept)
        try:
            return align(self.vlm_skeleton, text.text_skeleton, self.family.parts)
        except PairMismatch as error:
            raise PairMismatch(f"{text}: {error}") from None

    def _located(self, text: Checkpoint) -> dict[AlignedTensor, StoredTensor]:
        on_disk = memory_tensors(text.text_skeleton, read_shards(text.folder))
        return locate(text.text_skeleton, self.alignment, on_disk)


def folder_pair(vlm: Path, backbone: Path, dtype: str | None) -> PairSource:
    """A pair of two local folders."""
    return PairSource(
        vlm=FolderOrId(str(vlm)),
        backbone=FolderOrId(str(backbone)),
        base=None,
        revision=None,
        backbone_revision=None,
        base_revision=None,
        accept=(),
        dtype=dtype,
    )


def _named(checkpoint: Checkpoint) -> Named:
    return Named(checkpoint.title, checkpoint.digest)


def _load_vlm(folder: Path, dtype: torch.dtype, gpus: Mapping[str, int] | None) -> Any:
    """On the CPU, or each module on its GPU."""
    try:
        loaded: Any = AutoModelForImageTextToText.from_pretrained(  # nosec B615  # local files alone
            folder,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            device_map=gpus,
        )
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"the weights in {folder} cannot be read: {first_lines(error)}; copy them again"
        ) from None
    model, info = loaded
    # transformers makes up what a checkpoint lacks.
    require_whole(folder, [*info["missing_keys"], *(row[0] for row in info["mismatched_keys"])])
    require_float32_rope(model)
    return model


def _own_memory(model: torch.nn.Module) -> None:
    """Weights out of the file's memory map, whose alignment changes how kernels round."""
    for parameter in model.parameters():
        if parameter.device.type == "cpu":
            parameter.data = parameter.data.clone()


def _load_processor(folder: Path) -> Any:
    try:
        return AutoProcessor.from_pretrained(  # nosec B615  # local files alone
            folder, local_files_only=True, trust_remote_code=False
        )
    except (ValueError, OSError, ImportError) as error:  # some need a package of their own
        raise UserError(
            f"the processor in {folder} cannot be read: {first_lines(error)}"
        ) from None
    except RecursionError:  # a video processor guessed from the image processor's name
        raise UserError(
            f"the processor in {folder} cannot be read: its files name no video_processor_type, and "
            "what transformers takes for it calls itself; write the class's name under that key "
            "into video_preprocessor_config.json there (of LLaVA-NeXT-Video: "
            "LlavaNextVideoVideoProcessor)"
        ) from None
