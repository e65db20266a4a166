"""The README of an exported checkpoint: what it is made of, and what was measured."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import ModelCardData, metadata_load
from yaml import YAMLError

from merit_opt.models.families.family import Kind
from merit_opt.recipe.recipe import PARTS, Recipe
from merit_opt.recipe.rules import spelled

UNKNOWN = "not stated"
CARD = "README.md"
_HUB_LICENCE = re.compile(r"[\w.-]+")  # the hub refuses a card whose licence it does not know


@dataclass(frozen=True, slots=True)
class Parent:
    """A model that went into a merge.

    Attributes:
        name: A repository's id, or a folder's own name.
        commit: Of a repository; None of a folder.
        digest: Identity of its files.
        licence: As its own model card states it.
    """

    name: str
    commit: str | None
    digest: str
    licence: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a merge was made of.

    Attributes:
        vlm: The video-language model.
        backbone: The text model.
        base: Their common ancestor, where the rules needed one.
        dtype: The dtype in which they were merged.
    """

    vlm: Parent
    backbone: Parent
    base: Parent | None
    dtype: str

    @property
    def parents(self) -> dict[str, Parent]:
        """Role -> parent."""
        roles = {"VLM": self.vlm, "text backbone": self.backbone}
        return roles if self.base is None else {**roles, "base": self.base}


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of the recipe beside those of the unmerged VLM.

    Attributes:
        suite: On what.
        role: TR or TP.
        n: Questions.
        base: Accuracy of the VLM, in [0, 1].
        merged: Accuracy of the merged VLM, in [0, 1].
        difference: Merged minus base, with its interval, as text.
    """

    suite: str
    role: str
    n: int
    base: float
    merged: float
    difference: str


def licence(folder: Path) -> str:
    """What the model card in `folder` says; `not stated` where there is none."""
    card = folder / CARD
    try:
        facts = metadata_load(card) if card.is_file() else None
    except (OSError, ValueError, YAMLError):
        facts = None
    if not isinstance(facts, dict) or not facts.get("license"):
        return UNKNOWN
    name = facts.get("license_name")
    return f"{facts['license']} ({name})" if name else str(facts["license"])


def model_card(
    recipe: Recipe, lineage: Lineage, measured: Sequence[Measured], medium: Kind
) -> str:
    """The Markdown, with the front matter that the hub reads.

    Args:
        recipe: What was merged.
        lineage: Of what.
        measured: Scores of the recipe.
        medium: What the model is asked about.
    """
    lines = [_title(lineage), "", *_body(recipe, lineage, measured)]
    return _markdown(lineage, lines, library="transformers", task=f"{medium}-text-to-text")


def delta_card(recipe: Recipe, lineage: Lineage, measured: Sequence[Measured]) -> str:
    """As `model_card`, of the changed tensors alone: no library loads them by themselves."""
    vlm = lineage.vlm
    commit = "" if vlm.commit is None else f" at {vlm.commit}"
    about = (
        f"{_title(lineage)}: a delta\n\nThis is no model: it holds the tensors alone that a merge "
        f"changes of **{vlm.name}**{commit} (digest `{vlm.digest}`). To apply it to that VLM, "
        f"without the text backbone:\n\n```bash\n{_applying(lineage)}\n```\n\nDELTA is the "
        "folder of this file"
        + (f", VLM that of {vlm.name}" if vlm.commit is None else "")
        + ", and FOLDER what `from_pretrained` then loads.\n"
    )
    lines = [about, *_body(recipe, lineage, measured)]
    return _markdown(lineage, lines, library="merit_opt", task=None)


def _applying(lineage: Lineage) -> str:
    vlm = lineage.vlm
    where = "VLM" if vlm.commit is None else f"{vlm.name} pair.revision={vlm.commit}"
    return (
        f"merit-opt export recipe=DELTA pair=custom pair.vlm={where} "
        f"pair.dtype={lineage.dtype} out=FOLDER"
    )


def _markdown(lineage: Lineage, lines: Iterable[str], *, library: str, task: str | None) -> str:
    licences = {parent.licence for parent in lineage.parents.values()}
    shared = licences.pop() if len(licences) == 1 else UNKNOWN
    data = ModelCardData(
        base_model=[p.name for p in lineage.parents.values() if p.commit is not None] or None,
        base_model_relation="merge",
        library_name=library,
        license=shared if _HUB_LICENCE.fullmatch(shared) else "other",
        pipeline_tag=task,
        tags=["merge", "merit_opt"],
    )
    body = "\n".join(lines)
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n"


def _title(lineage: Lineage) -> str:
    return f"# {Path(lineage.vlm.name).name}, merged with {Path(lineage.backbone.name).name}"


def _body(recipe: Recipe, lineage: Lineage, measured: Sequence[Measured]) -> Iterator[str]:
    merged, total = len(recipe.merged_layers), len(recipe.layers)
    yield (
        f"{merged} of {total} decoder layers take weights back from the text backbone, without "
        "training. Coefficient 0 is the VLM, 1 the backbone. Made with merit_opt."
    )
    yield "\n## Made of\n\n| role | model | commit | digest | licence |\n|---|---|---|---|---|"
    for role, parent in lineage.parents.items():
        commit = parent.commit or ""
        yield f"| {role} | {parent.name} | {commit} | `{parent.digest}` | {parent.licence} |"
    yield "\nWhoever passes it on must keep to the licences of all of them."
    yield f"\n## Recipe `{recipe.digest}`\n\nMerged in {lineage.dtype}; the rest is the VLM's.\n"
    yield "| layer | " + " | ".join(PARTS) + " |\n|---|" + "---|" * len(PARTS)
    for index in recipe.merged_layers:
        rules = (recipe.layers[index].rule(part) for part in PARTS)
        yield f"| {index} | " + " | ".join("" if r is None else spelled(r) for r in rules) + " |"
    yield "\n`recipe.json` holds it for machines, `merit_opt.json` where it came from."
    yield "\n## Measured\n"
    if not measured:
        yield "Nothing was measured with this recipe where it was exported."
        return
    yield "| suite | role | questions | VLM | merged | difference |\n|---|---|---|---|---|---|"
    for row in measured:
        yield (
            f"| {row.suite} | {row.role} | {row.n} | {row.base:.3f} | {row.merged:.3f} | "
            f"{row.difference} |"
        )
