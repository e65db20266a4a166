"""A checkpoint that a user named: a folder, or a repository of the hub."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    HTTPError,  # pyright: ignore[reportPrivateImportUsage]  # httpx's, by either of its names
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StrictDataclassError,
)
from transformers import AutoConfig, AutoModelForCausalLM

from merit_opt.errors import UserError, causes
from merit_opt.models.fingerprint import folder_digest
from merit_opt.models.stored import INDEX, is_complete, require_present

VLM_KEY = "pair.vlm"
_REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_DESCRIPTIONS = ("*.json", "*.jinja", "*.txt", "*.model", "*.md", "LICENSE*", "NOTICE*")
_WEIGHTS = "model*.safetensors"
_PICKLED = ("*.bin", "*.pt", "*.pth")
_UNREADABLE = (ValueError, OSError, TypeError, AttributeError, KeyError, StrictDataclassError)


@dataclass(frozen=True)
class Checkpoint:
    """A model, opened no further than what is asked of it.

    Attributes:
        key: The configuration key that names it, such as `pair.vlm`; errors begin with it.
        name: A folder as `save_pretrained` writes it, or a repository's id on the hub.
        revision: Commit, tag or branch of a repository; None = its default branch.

    Raises:
        UserError: It is neither a folder that can hold a model, nor a repository's id.
    """

    key: str
    name: str
    revision: str | None

    def __post_init__(self) -> None:
        if self._is_local:
            if self.revision is not None:
                raise UserError(
                    f"{self.key}: {self.name} is a folder, and folders have no revision"
                )
            _require_model(self.key, Path(self.name))
        elif not is_repository(self.name):
            raise UserError(
                f"{self.key}: expected a checkpoint folder or a repository OWNER/NAME of the hub, "
                f"but {self.name} is none"
            )

    @cached_property
    def described(self) -> Path:
        """A folder with all but the weights; nothing else is downloaded for it.

        Raises:
            UserError: The hub does not give it, or it is no model that can be merged.
        """
        if self._is_local:
            return Path(self.name)
        folder = self._snapshot(_DESCRIPTIONS, self.revision)
        _require_described(self.key, folder)
        return folder

    @cached_property
    def folder(self) -> Path:
        """A folder with everything, downloaded where it must be.

        Raises:
            UserError: The hub does not give it, or it is no model that can be merged.
        """
        if self._is_local:
            return Path(self.name)
        # By its commit: a branch may have moved since its configuration was read.
        folder = self._snapshot((*_DESCRIPTIONS, _WEIGHTS), self.described.name)
        _require_described(self.key, folder)
        if not any(folder.glob(_WEIGHTS)):
            raise UserError(
                f"{self.key}: no {_WEIGHTS} of {self} came. If there is no network, run "
                f"`{self._download}` where there is one and copy the cache; if it has pickled "
                "weights alone, which can run code and are not read, and you trust them, run "
                f"`{self._download} --local-dir FOLDER` and {_conversion(self.key, 'FOLDER')}"
            )
        return folder

    @cached_property
    def digest(self) -> str:
        """Identity of its files, see `folder_digest`; downloads what is not here."""
        return folder_digest(self.folder)

    @cached_property
    def config(self) -> Any:
        """Its configuration.

        Raises:
            UserError: It cannot be read, or describes quantised weights.
        """
        config = _read_config(self.described)
        parts = (config, config.get_text_config())
        found = (getattr(part, "quantization_config", None) for part in parts)
        if (quantised := next((q for q in found if q is not None), None)) is not None:
            method = quantised.get("quant_method") if isinstance(quantised, dict) else quantised
            raise UserError(
                f"{self.key}: {self.name} is quantised ({method}): its numbers are codes, which "
                "cannot be interpolated; give the checkpoint it was made from"
            )
        return config

    @cached_property
    def text_skeleton(self) -> Any:
        """The text model it describes, without weights, on the meta device."""
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(self.config)

    @property
    def has_weights(self) -> bool:
        """Whether `folder` would download nothing."""
        try:
            if self._is_local:
                return True
            return is_complete(self._snapshot(("*.json", _WEIGHTS), self.revision, local=True))
        except UserError:
            return False

    @property
    def commit(self) -> str | None:
        """The commit that a repository's revision stands for; None of a folder."""
        return None if self._is_local else self.described.name

    @property
    def title(self) -> str:
        """A repository's id, or a folder's own name, without the folders that hold it."""
        return Path(self.name).resolve().name if self._is_local else self.name

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name} at {self.revision}"

    @property
    def _is_local(self) -> bool:
        return bool(self.name) and Path(self.name).is_dir()

    @property
    def _download(self) -> str:
        revision = "" if self.revision is None else f" --revision {self.revision}"
        return f"hf download {self.name}{revision}"

    def _snapshot(
        self, patterns: tuple[str, ...], revision: str | None, *, local: bool = False
    ) -> Path:
        try:
            return Path(
                snapshot_download(
                    self.name,
                    revision=revision,
                    allow_patterns=list(patterns),
                    local_files_only=local,
                )
            )
        except (OSError, HFValidationError, HTTPError) as error:
            raise UserError(f"{self.key}: {self._why_absent(error)}") from error

    def _why_absent(self, error: Exception) -> str:
        found = list(causes(error))
        if any(isinstance(e, GatedRepoError) for e in found):
            return (
                f"{self.name} is gated: accept its terms on its page, then `hf auth login` or "
                "set HF_TOKEN"
            )
        if any(isinstance(e, RepositoryNotFoundError) for e in found):
            return (
                f"there is no folder {self.name} here, and no such repository on the hub (or it "
                "is private: `hf auth login`)"
            )
        if any(isinstance(e, RevisionNotFoundError) for e in found):
            return f"{self.name} has no revision {self.revision}"
        if any(isinstance(e, LocalEntryNotFoundError | HTTPError) for e in found):
            return (
                f"there is no folder {self.name} here, the hub cannot be reached, and its cache "
                f"lacks {self}; give a folder, or run `{self._download}` where there is a network "
                "and copy the cache"
            )
        return f"{self} cannot be downloaded: {first_lines(error)}"


def is_repository(name: str) -> bool:
    """Whether a name that is no folder can be a repository's id."""
    return _REPOSITORY.fullmatch(name) is not None


def first_lines(error: BaseException) -> str:
    """The first two lines of an error, as one."""
    return " ".join(" ".join(str(error).splitlines()[:2]).split())


def _require_described(key: str, folder: Path) -> None:
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{key}: {folder} is a LoRA adapter, not a model; merge it into its base first "
            "(peft: model.merge_and_unload().save_pretrained(FOLDER))"
        )


def _require_model(key: str, folder: Path) -> None:
    _require_described(key, folder)
    _require_indexed(key, folder)
    missing = [what for what in ("config.json", _WEIGHTS) if not any(folder.glob(what))]
    if missing == [_WEIGHTS] and any(any(folder.glob(p)) for p in _PICKLED):
        raise UserError(
            f"{key}: {folder} holds its weights as pickle, which can run code and is not read; "
            f"where you trust it, {_conversion(key, str(folder))}"
        )
    if missing:
        raise UserError(f"{key}: {folder} holds no {' and no '.join(missing)}")


def _require_indexed(key: str, folder: Path) -> None:
    """Weights that an index names must be there, even where no other are."""
    if (folder / INDEX).is_file():
        try:
            require_present(folder)
        except UserError as error:
            raise UserError(f"{key}: {error}") from None


def _conversion(key: str, folder: str) -> str:
    """How to write a folder of pickled weights anew; a class without a head would lose it."""
    loader = "AutoModelForImageTextToText" if key == VLM_KEY else "AutoModelForCausalLM"
    return (
        f"convert it in Python, from transformers import {loader}; {loader}.from_pretrained("
        f"{folder!r}, dtype='auto').save_pretrained('NEW_FOLDER'), then copy all files of "
        f"{folder} that are neither weights nor in NEW_FOLDER (tokenizer, processor, chat "
        f"template) and give {key}=NEW_FOLDER"
    )


def _read_config(folder: Path) -> Any:
    _require_no_kernel(folder)
    try:
        return AutoConfig.from_pretrained(  # nosec B615  # local files alone
            folder, local_files_only=True, trust_remote_code=False
        )
    except _UNREADABLE as error:
        reason = first_lines(error)
        if "trust_remote_code" in str(error):
            reason = (
                "the model needs code of its own, which is not run; look for its conversion to a "
                "class of transformers (often named …-hf)"
            )
        raise UserError(f"{folder / 'config.json'} cannot be read: {reason}") from None


def _require_no_kernel(folder: Path) -> None:
    """Such code would be fetched from the hub by transformers, and run.

    Every configuration is looked through: transformers may read another one than config.json.
    """
    for path in sorted(folder.glob("*config*.json")):
        try:
            held = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue  # transformers says it better
        for key, value in _keyed(held):
            if _names_code(key, value):
                raise UserError(
                    f"{path} names code of its own, {key}={str(value)[:80]}, which is not run; "
                    "remove the line"
                )


def _names_code(key: str, value: object) -> bool:
    if key == "use_kernels" or key == "configuration_files":
        return bool(value)
    return "_implementation" in key and "/" in str(value)


def _keyed(value: object) -> Iterator[tuple[str, object]]:
    """Every key at any depth, with what it holds."""
    if isinstance(value, list):
        for own in cast("list[object]", value):
            yield from _keyed(own)
    for key, own in cast("dict[object, object]", value).items() if isinstance(value, dict) else ():
        yield str(key), own
        yield from _keyed(own)
