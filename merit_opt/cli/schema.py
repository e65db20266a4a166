"""Types of the root configuration of each verb; groups are checked against their factories."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import MISSING

from merit_opt.cli import conf_dir


@dataclass
class StudySchema:
    """See conf/search.yaml."""

    name: str | None = MISSING
    fork: str | None = MISSING
    trials: int = MISSING
    hours: float | None = MISSING
    uniform: list[float] = MISSING
    random_layers: int = MISSING
    retries: int = MISSING
    dashboard: bool = MISSING
    least_share: float = MISSING


@dataclass
class SearchSchema:
    """See conf/search.yaml."""

    pair: Any = MISSING
    suite: Any = MISSING
    space: Any = MISSING
    sampler: Any = MISSING
    pruner: Any = MISSING
    objective: Any = MISSING
    storage: Any = MISSING
    tracking: Any = MISSING
    engine: Any = MISSING
    study: StudySchema = field(default_factory=StudySchema)
    worker: int = MISSING
    seed: int = MISSING
    device: str = MISSING
    output_dir: str = MISSING


@dataclass
class EvaluateSchema:
    """See conf/evaluate.yaml."""

    pair: Any = MISSING
    suite: Any = MISSING
    objective: Any = MISSING
    storage: Any = MISSING
    engine: Any = MISSING
    recipe: str = MISSING
    seed: int = MISSING
    device: str = MISSING
    output_dir: str = MISSING


@dataclass
class AttributeSchema:
    """See conf/attribute.yaml."""

    pair: Any = MISSING
    suite: Any = MISSING
    method: Any = MISSING
    storage: Any = MISSING
    tracking: Any = MISSING
    engine: Any = MISSING
    recipe: str = MISSING
    split: str = MISSING
    seed: int = MISSING
    device: str = MISSING
    output_dir: str = MISSING


@dataclass
class ExportSchema:
    """See conf/export.yaml."""

    pair: Any = MISSING
    storage: Any = MISSING
    recipe: str = MISSING
    out: str = MISSING
    format: str = MISSING
    output_dir: str = MISSING


@dataclass
class CheckSchema:
    """See conf/check.yaml."""

    pair: Any = MISSING
    suite: Any = MISSING
    storage: Any = MISSING
    engine: Any = MISSING
    recipe: str | None = MISSING
    only: Any = MISSING  # a list, of which the verb itself says what it may name
    device: str = MISSING
    output_dir: str = MISSING


@dataclass
class ReportSchema:
    """See conf/report.yaml."""

    storage: Any = MISSING
    tracking: Any = MISSING
    study: str = MISSING
    other: list[str] = MISSING
    samples: int = MISSING
    distances: bool = MISSING
    output_dir: str = MISSING


@dataclass
class PlantSchema:
    """See conf/plant.yaml."""

    layers: list[Any] = MISSING
    decoys: list[int] = MISSING
    natural_decoys: list[int] = MISSING
    seed: int = MISSING
    out: str = MISSING


SCHEMAS: dict[str, type] = {
    "search": SearchSchema,
    "evaluate": EvaluateSchema,
    "attribute": AttributeSchema,
    "export": ExportSchema,
    "check": CheckSchema,
    "report": ReportSchema,
    "plant": PlantSchema,
}


def register() -> None:
    """Make the schemas known to Hydra.

    Of launchers it knows those of their plugins, stored as these are found. Our option files take
    their place: beside them Hydra would warn of files and schemas of one name.
    """
    Plugins.instance()
    store = ConfigStore.instance()
    for verb, schema in SCHEMAS.items():
        store.store(name=f"{verb}_schema", node=schema)
    stored = store.repo.get("hydra", {}).get("launcher", {})
    for path in (conf_dir() / "hydra" / "launcher").glob("*.yaml"):
        stored.pop(path.name, None)
