"""What several verbs make of their configuration."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from merit_opt.cli.build import Factory
from merit_opt.data.leakage import ShownMedium, media_of_rows
from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.evaluation.engine import FEATURES, QUARANTINE
from merit_opt.models.mergekit.names import NamedTensor
from merit_opt.models.mergekit.read import from_mergekit
from merit_opt.models.mergekit.roles import Roles
from merit_opt.models.pair import ModelPair
from merit_opt.models.source import PairSource
from merit_opt.models.waiting import Place
from merit_opt.recipe.recipe import Recipe
from merit_opt.recipe.store import RECIPE_FILE, form_or_file, named_recipe, read_origin
from merit_opt.search.references import PREFIX, SEARCHED, study_recipe

SPLIT_KEYS = {"search_share": float, "split_seed": int}
SAMPLER_KEYS = {"warm_start": str}
SUITE_INJECTED = {"cache", "progress"}
MAX_SEED = 2**32 - 1
MERGEKIT = "mergekit:"

Stage = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Outputs:
    """Where a run writes.

    Attributes:
        root: `output_dir`.
    """

    root: Path

    @property
    def cache(self) -> Path:
        """Rendered clips, visual features and evaluations; safe to delete."""
        return self.root / "cache"

    @property
    def features(self) -> Path:
        """Frozen visual features."""
        return self.cache / FEATURES

    @property
    def quarantine(self) -> Path:
        """Media that are not read again."""
        return self.cache / QUARANTINE

    @property
    def dashboard(self) -> Path:
        """Pictures that optuna-dashboard shows."""
        return self.root / "dashboard_artifacts"

    def study(self, name: str) -> Path:
        """A study's folder.

        Raises:
            UserError: The name cannot be a folder's.
        """
        if Path(name).name != name or name.startswith("."):
            raise UserError(
                f"study.name is the name of a folder, so without / or a leading dot; got {name!r}"
            )
        return self.root / "studies" / name

    def require_writable(self) -> None:
        """Make the folder.

        Raises:
            UserError: It cannot be made or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe = self.root / ".writable"
            probe.touch()
            probe.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"cannot write to output_dir={self.root}: {error.strerror}; choose another"
            ) from error


def built_suite(factory: Factory, outputs: Outputs, stage: Stage) -> Suite:
    """The suite, its media made or found.

    Raises:
        UserError: It cannot be built, or has no question.
    """
    suite: Suite = factory.build(cache=outputs.cache, progress=stage)
    if not suite.samples:
        raise UserError(
            f"suite {suite.name} has no question that can be asked; "
            f"{len(suite.left_out)} rows were left out"
        )
    return suite


def require_roles(suite: Suite, what: str) -> None:
    """Both roles must be there to be compared.

    Raises:
        UserError: `what` lacks one.
    """
    if missing := {"TR", "TP"} - {suite.role(s) for s in suite.samples}:
        raise UserError(
            f"{what} has no {' and no '.join(sorted(missing))} questions, and the objective "
            "compares both; choose other suite.* settings"
        )


def require_seed(key: str, seed: int) -> None:
    """NumPy's range.

    Raises:
        UserError: The seed lies outside.
    """
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"{key} must lie in 0 to {MAX_SEED}, got {seed}")


@lru_cache(maxsize=1)
def load_pair(source: PairSource, device: str, backbone: Place) -> ModelPair:
    """The pair on `device`; the jobs of a sweep share the last one loaded."""
    return source.load(device, backbone)


def find_recipe(name: str, source: PairSource, storage: Factory) -> Recipe:
    """The recipe a user named, checked against the pair.

    Raises:
        UserError: No such recipe, it was found on another pair, or it does not fit this one.
    """
    if name.startswith(PREFIX):
        recipe = _found_on(source, name, storage)
    elif name.startswith(MERGEKIT):
        recipe = _from_mergekit(Path(name.removeprefix(MERGEKIT)), source)
    else:
        alignment = source.alignment
        recipe = named_recipe(name, alignment.n_layers, parts=alignment.parts)
    try:
        source.require(recipe)
    except UserError as error:
        raise UserError(f"recipe={name}: {error}") from None
    if (path := _path(name)) is not None:
        _require_found_here(path, source, recipe)
    return recipe


def disk_names(source: PairSource) -> tuple[list[NamedTensor], list[str]]:
    """The VLM's tensors as they are called on disk: those that can be merged, and all others."""
    merged = [NamedTensor(one.name, t.layer, t.part) for t, one in source.stored.vlm.items()]
    known = {tensor.name for tensor in merged}
    names = (tensor.name for shard in source.shards for tensor in shard.tensors)
    return merged, [name for name in names if name not in known]


def searched_media(name: str, storage: Factory) -> tuple[ShownMedium, ...]:
    """Those that the search saw which found the recipe; none of a recipe of no study.

    A recipe file that a study left has them beside it.

    Raises:
        UserError: No such study, or what lies beside the file is damaged.
    """
    if name.startswith(PREFIX):
        return study_recipe(storage.build(), name).searched
    path = _path(name)
    beside = path.with_name(SEARCHED) if path is not None and path.is_file() else None
    if beside is None or not beside.is_file():
        return ()
    try:
        return media_of_rows(json.loads(beside.read_text()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{beside} is damaged ({error}); give the study itself, study:NAME"
        ) from None


def _path(name: str) -> Path | None:
    """The file or folder that a recipe's name is; None of all other names."""
    found = None if name.startswith((PREFIX, MERGEKIT)) else form_or_file(name)
    return found if isinstance(found, Path) else None


def _require_found_here(path: Path, source: PairSource, recipe: Recipe) -> None:
    """Of a file that tells its pair; any other fits every pair of its form."""
    known = read_origin(path)
    if known is None or known.is_same(given := source.origin(recipe)):
        return
    file = path / RECIPE_FILE if path.is_dir() else path
    raise UserError(
        f"recipe={path} was found on {known}, but pair= gives {given}; give the pair that it was "
        f'found on, or take "pair" out of {file} to have it on this one all the same'
    )


def _found_on(source: PairSource, name: str, storage: Factory) -> Recipe:
    found = study_recipe(storage.build(), name)
    if found.pair != source.digest:
        raise UserError(
            f"{name} was found on pair {found.pair}, but pair= gives {source.digest}; "
            "give the pair that the study was run on"
        )
    return found.recipe


def _from_mergekit(path: Path, source: PairSource) -> Recipe:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"recipe={MERGEKIT}{path} cannot be read: {error}") from None
    merged, others = disk_names(source)
    pair = Roles(source.vlm, source.backbone_checkpoint.name, source.base)
    try:
        found = from_mergekit(text, merged, others, source.alignment.n_layers, pair)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    roles = found.roles
    print(f"{path}: {roles.vlm} is taken for the VLM, {roles.backbone} for its backbone")
    return found.recipe
