"""What a way of explaining a recipe is given, and what it gives back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from merit_opt.data.suite import Suite
from merit_opt.errors import UserError
from merit_opt.evaluation.engine import Engine
from merit_opt.evaluation.prepare import EngineReporter
from merit_opt.recipe import constructors
from merit_opt.recipe.recipe import Part, Recipe

Model = Literal["base", "merged"]


@dataclass(frozen=True, slots=True)
class Anatomy:
    """What of a pair decides which layers, parts and heads there are.

    Attributes:
        n_layers: Decoder layers.
        parts: What a merge may touch.
        head_groups: Key/value heads of each layer.
    """

    n_layers: int
    parts: tuple[Part, ...]
    head_groups: tuple[int, ...]

    def chosen(self, layers: Sequence[int] | None) -> tuple[int, ...]:
        """These layers, ascending, or all.

        Raises:
            UserError: There is no such layer.
        """
        if layers is None:
            return tuple(range(self.n_layers))
        outside = sorted(i for i in layers if not 0 <= i < self.n_layers)
        if outside or not layers:
            raise UserError(
                f"method.layers are of 0 to {self.n_layers - 1}, at least one; got {list(layers)}"
            )
        return tuple(sorted(set(layers)))

    def require_parts(self, parts: Sequence[Part]) -> None:
        """A merge must be able to touch these parts.

        Raises:
            UserError: It is not, or there are none.
        """
        if not parts or not set(parts) <= set(self.parts):
            raise UserError(
                f"method.parts are of {', '.join(self.parts)}, at least one; got {list(parts)}"
            )


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
    """

    tables: Mapping[str, Rows]
    summary: Mapping[str, Any]
    shown: Shown
    evaluations: int
    failed: Mapping[str, str] = field(default_factory=dict[str, str])


class Method(Protocol):
    """One way of explaining a recipe; an option of the group `method` makes it."""

    def require(self, recipe: Recipe, anatomy: Anatomy, suite: Suite) -> None:
        """Refuse what cannot be done, before anything is loaded.

        Raises:
            UserError: The settings do not fit the recipe, the pair or the suite.
        """
        ...

    def run(self, bench: Bench) -> Found:
        """Measure, inside the engine's with block.

        Raises:
            TrialFailed: What everything else is compared with cannot be measured.
        """
        ...
