"""What a way of explaining a recipe is given, and what it gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from merit_opt.attribution.anatomy import Anatomy
from merit_opt.data.suite import Suite
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.prepare import EngineReporter
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Recipe

Model = Literal["base", "merged"]


@dataclass(frozen=True, slots=True)
class Bench:
    """On what a recipe is explained.

    Attributes:
        engine: Measures, inside its with block.
        anatomy: Of the pair.
        recipe: What is explained.
        suite: The samples that every effect is measured on.
        search: The samples that the recipe was chosen by; means are taken over them.
        seed: Of draws and resampling.
        reporter: Is told how it gets on.
    """

    engine: Engine
    anatomy: Anatomy
    recipe: Recipe
    suite: Suite
    search: Suite
    seed: int
    reporter: EngineReporter

    def of(self, model: Model) -> Recipe:
        """The recipe, or the unmerged VLM's."""
        return self.recipe if model == "merged" else constructors.base(self.anatomy.n_layers)


Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Shown:
    """A short table for the terminal.

    Attributes:
        title: What it is of.
        columns: Their heads.
        rows: A text for each column.
        lines: What is said under it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a method leaves.

    Attributes:
        tables: Name of a file, without its ending -> its rows, by the columns of `tables.SCHEMAS`.
        summary: The figures that matter, as JSON keeps them.
        shown: For the terminal.
        evaluations: How many models were measured, known ones among them.
        failed: What could not be measured -> why.
        n: Role -> how many samples, where not all of the suite were looked at.
        left_out: Sample id -> why it could not be asked, of those in no number here.
    """

    tables: Mapping[str, Rows]
    summary: Mapping[str, Any]
    shown: Shown
    evaluations: int
    failed: Mapping[str, str] = field(default_factory=dict[str, str])
    n: Mapping[str, int] | None = None
    left_out: Mapping[str, str] = field(default_factory=dict[str, str])


def models_bill(models: int, suite: Suite) -> str:
    """Of a method that evaluates so many models."""
    return f"{models} models to measure, {len(suite.samples)} questions each"


class Method(Protocol):
    """One way of explaining a recipe; an option of the group `method` makes it."""

    def require(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> None:
        """Refuse what cannot be done, before anything is loaded.

        Raises:
            UserError: The settings do not fit the recipe, the pair or the suite.
        """
        ...

    def bill(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> str:
        """What `run` will take, for people, where nothing of it is known yet."""
        ...

    def run(self, bench: Bench) -> Found:
        """Measure, inside the engine's with block.

        Raises:
            TrialFailed: What everything else is compared with cannot be measured.
        """
        ...
