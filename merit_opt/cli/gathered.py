"""What a study left, gathered for its report; what is missing is told, not mourned."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from merit_opt.cli.build import factories
from merit_opt.cli.given import given
from merit_opt.cli.guard import NO_RESOLVER, leaves, unfollowed
from merit_opt.cli.parts import SPLIT_KEYS, SUITE_INJECTED, Outputs, Stage, built_suite
from merit_opt.cli.remeasured import measured_commands
from merit_opt.cli.retyped import command
from merit_opt.cli.strips import flips
from merit_opt.data.media.decode_pool import MediaSettings
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.data.suite import Suite
from merit_opt.data.versions import library_version
from merit_opt.errors import UserError
from merit_opt.evaluation.samples_file import read_samples
from merit_opt.files import write_text
from merit_opt.models.distance import distances
from merit_opt.models.source import PairSource
from merit_opt.reporting.attributions import read_attribution
from merit_opt.reporting.facts import (
    Answers,
    Attribution,
    Evaluated,
    Flips,
    LayerValue,
    Row,
    StudyFacts,
)
from merit_opt.search.conclusion import RESULT, SAMPLES
from merit_opt.search.importances import importances
from merit_opt.search.lookup import told_study
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.tracking.record import ToldStudy

CONFIG = "config.yaml"
DECODE_SECONDS = 60.0
LIBRARIES = ("numpy", "scipy", "optuna", "scikit-learn")
EVALUATED = ("base_samples.parquet", "samples.parquet")
DAMAGES = (OSError, ValueError, KeyError, TypeError, yaml.YAMLError)


@dataclass(frozen=True)
class Gathering:
    """Where to look, and for how much.

    Attributes:
        storage: Of the studies.
        outputs: Where runs have written.
        samples: How many samples with frames, at most.
        distances: Whether weights are read.
        stage: Is told how it gets on.
    """

    storage: PatientStorage
    outputs: Outputs
    samples: int
    distances: bool
    stage: Stage


def gather(ask: Gathering, name: str) -> StudyFacts:
    """Everything about one study that its own page shows.

    Raises:
        UserError: There is no such study.
    """
    ask.stage("reading the study", 0, 1)
    facts = gather_least(ask, name)
    folder, seed = ask.outputs.study(name), _seed(facts.result)
    ask.stage("weighing importances", 0, 1)
    weighed = [
        LayerValue(i.evaluator, i.part, i.layer, i.share)
        for i in importances(facts.study.trials, seed)
    ]
    digest = None if facts.study.best is None else facts.study.best.recipe.digest
    attribution = _attribution(folder, digest, facts.study)
    facts = replace(
        facts,
        importances=weighed,
        attribution=attribution,
        evaluations=tuple(_evaluations(ask.outputs, _compared(facts, digest), facts.study)),
        missing=(*facts.missing, *attribution.refused),
    )
    typed = measured_commands(facts, given("storage", "output_dir"))
    return _with_media(ask, replace(facts, measured=tuple(typed)))


def gather_least(ask: Gathering, name: str) -> StudyFacts:
    """What is shown of a study beside another: no frames, importances or attribution.

    Raises:
        UserError: There is no such study.
    """
    study = told_study(ask.storage, name)
    folder = ask.outputs.study(name)
    missing: list[str] = []
    result = _read(folder / RESULT, _json, missing)
    if result is not None and result.get("uid") != study.record.uid:
        missing.append(f"{folder / RESULT} is of another study of that name, and left out.")
        result = None
    settings = _read(folder / CONFIG, _yaml, missing)
    return StudyFacts(
        study=_judged(study, result, missing),
        result=result,
        answers=None if result is None else _confirm_answers(folder, missing),
        settings=settings or {},
        commands=_known_commands(name, settings, missing),
        versions={"merit-opt": version("merit-opt")},
        libraries=_libraries(),
        missing=tuple(missing),
    )


def _libraries() -> str:
    own = " ".join(f"{name} {library_version(name)}" for name in LIBRARIES)
    return f"Python {python_version()} {own}"


def _confirm_answers(folder: Path, missing: list[str]) -> Answers | None:
    """Of base, winner and controls, as far as they were kept."""
    merged, base, rows = (_read(folder / name, read_samples, missing) for name in SAMPLES)
    controls: dict[str, list[Row]] = {}
    for row in rows or ():
        controls.setdefault(row["recipe"], []).append(row)
    return Answers(base, merged, controls) if merged and base else None


def _judged(study: ToldStudy, result: Row | None, missing: list[str]) -> ToldStudy:
    """With the winner that the final comparison is of, where there is one."""
    told = (
        None
        if result is None
        else {t.number: t for t in study.trials}.get(result["best"]["number"])
    )
    if told is None or study.best is None or told.number == study.best.number:
        return study
    missing.append(
        f"The study went on after its final comparison, which is of trial {told.number}; trial "
        f"{study.best.number} leads now. To compare that one, give the search's command again."
    )
    return replace(study, best=told)


def _seed(result: Row | None) -> int:
    return 0 if result is None else int(result["seed"])


def _read(path: Path, read: Callable[[Path], Any], missing: list[str]) -> Any:
    """What a file holds; None where it is missing, or damaged, which is told."""
    if not path.is_file():
        return None
    try:
        return read(path)
    except DAMAGES as error:
        missing.append(f"{path} cannot be read ({_reason(error)}), and is left out.")
        return None


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    if not {"seed", "best", "uid"} <= found.keys():
        raise ValueError("it is no result of a search")
    return found


def _yaml(path: Path) -> dict[str, Any]:
    found: object = yaml.safe_load(path.read_text())
    if not isinstance(found, dict):
        raise TypeError("it holds no keys")
    return cast("dict[str, Any]", found)


def _known_commands(name: str, settings: Row | None, missing: list[str]) -> dict[str, str]:
    """None where this version lacks an option of the study, which is told."""
    try:
        return _commands(name, settings)
    except UserError as error:
        missing.append(f"No command of the study is known: {error}.")
        return {}


def _commands(name: str, settings: Row | None) -> dict[str, str]:
    """What to type, by what it does; of verbs that exist."""
    where = given("storage", "output_dir")
    if settings is None:
        return {}
    own = {key: value for key, value in settings.items() if key != "worker"}
    search = f"merit-opt search{command(own)}"
    pair = command(own, "pair")
    found = {
        "search": search,
        "resume": search,
        "evaluate": f"merit-opt evaluate{pair}{where} recipe=study:{name} suite=SUITE",
    }
    head = f"merit-opt attribute{pair}{command(own, 'suite')}{where} recipe=study:{name}"
    return found | {
        "attribute": f"{head} method=scan",
        "attribute_frames": f"{head} method=frames",
    }


def _attribution(folder: Path, digest: str | None, study: ToldStudy) -> Attribution:
    if digest is None:
        return Attribution()
    identity = {"recipe": digest, "pair": study.fingerprint.get("pair", "")}
    return read_attribution(folder / "attribution" / digest, identity)


def _compared(facts: StudyFacts, winner: str | None) -> list[str]:
    """Digests of the winner and of the controls that stand beside it."""
    found = (facts.result or {}).get("confirm") or {}
    controls = [control.get("digest") for control in found.get("controls", ())]
    return [digest for digest in dict.fromkeys([winner, *controls]) if digest]


def _evaluations(
    outputs: Outputs, digests: Sequence[str], study: ToldStudy
) -> Iterator[Evaluated]:
    """Every evaluation of these recipes on the study's pair; what is torn is passed over."""
    for digest in digests:
        for path in sorted(outputs.root.glob(f"evaluations/*-{digest}/{RESULT}")):
            try:
                found = json.loads(path.read_text())
                needed = {"suite", "difference", "base", "scores", "recipe"} <= found.keys()
                if needed and found["pair"] == study.fingerprint.get("pair"):
                    yield Evaluated(found, _evaluated_answers(path.parent))
            except DAMAGES:
                continue


def _evaluated_answers(folder: Path) -> Answers | None:
    base, merged = (_read(folder / name, read_samples, []) for name in EVALUATED)
    return Answers(base, merged) if base and merged else None


def _with_media(ask: Gathering, facts: StudyFacts) -> StudyFacts:
    """The frames of samples, and the pair's distances: what is not in the study's folder."""
    if not facts.settings:
        why = "The study's config.yaml is missing, so its media are not known."
        return replace(facts, flips=Flips(missing=why))
    missing: list[str] = list(facts.missing)
    found: tuple[LayerValue, ...] = ()
    if ask.distances:
        try:
            found = _distances(ask, facts)
        except UserError as error:
            missing.append(f"The distance of the weights is not shown: {error}.")
    return replace(facts, distances=found, flips=_flips(ask, facts), missing=tuple(missing))


def _part(ask: Gathering, facts: StudyFacts, group: str, **checks: Any) -> Any:
    """A factory of the study's own configuration, with today's output_dir.

    Raises:
        UserError: It does not fit this version.
    """
    kept = {key: facts.settings[key] for key in ("seed", "study") if key in facts.settings}
    node = {group: facts.settings.get(group), "output_dir": str(ask.outputs.root)}
    for place, value in leaves({**kept, **node}):
        if found := unfollowed(str(value), NO_RESOLVER):
            raise UserError(
                f"the study's {CONFIG} has {found} in {place}, which could put any variable of "
                "this machine into the report; write its value there"
            )
    try:
        built = factories(OmegaConf.create({**kept, **node}), **checks)
    except OmegaConfBaseException as error:
        raise UserError(f"the study's {CONFIG}: {_reason(error)}") from None
    if group not in built:
        raise UserError(f"the study's {CONFIG} names no {group}")
    return built[group]


def _flips(ask: Gathering, facts: StudyFacts) -> Flips:
    if facts.answers is None or ask.samples == 0:
        return Flips()
    engine = facts.settings.get("engine", {})
    reading = MediaSettings(
        workers=1,
        seconds=float(engine.get("decode_seconds", DECODE_SECONDS)),
        frames_in_flight=256,
        decoder=engine.get("decoder", "auto"),
    )
    return flips(
        facts.answers,
        _suite(ask, facts, facts.answers),
        facts.attribution.frames,
        ask.samples,
        (reading, Quarantine(ask.outputs.quarantine), ask.stage),
    )


def _suite(ask: Gathering, facts: StudyFacts, answers: Answers) -> Suite | str:
    """The confirm samples as they are today; or why they are not those that were measured."""
    try:
        checks: dict[str, Any] = {"own_keys": {"suite": SPLIT_KEYS}, "suite": SUITE_INJECTED}
        factory = _part(ask, facts, "suite", **checks)
        suite = built_suite(factory, ask.outputs, ask.stage)
    except UserError as error:
        return f"No frames can be shown, as the suite cannot be opened any more: {error}."
    side = suite.only(row["sample"] for row in answers.base)
    measured = answers.base[0].get("suite")
    if side.digest != measured:
        return (
            f"No frames can be shown: the suite has changed since it was measured (its digest was "
            f"{measured}, and is {side.digest})."
        )
    return side


def _distances(ask: Gathering, facts: StudyFacts) -> tuple[LayerValue, ...]:
    """Of the backbone from the VLM; read once a pair.

    Raises:
        UserError: The pair cannot be opened, or is another one than the study's.
    """
    digest = facts.study.fingerprint.get("pair", "")
    kept = ask.outputs.cache / "distances" / f"{digest}.json"
    if (known := _read(kept, lambda path: json.loads(path.read_text()), [])) is not None:
        return tuple(LayerValue(**one) for one in known)
    source: PairSource = _part(ask, facts, "pair", own_keys={}).build()
    if source.digest != digest:
        raise UserError(f"the pair has changed: its digest was {digest}, and is {source.digest}")
    if not (source.vlm_checkpoint.has_weights and source.backbone_checkpoint.has_weights):
        raise UserError("the pair's weights are not on this machine")

    def progress(done: int, total: int) -> None:
        ask.stage("comparing weights (tensors)", done, total)

    stored = source.stored
    found = tuple(
        LayerValue("distance", one.part, one.layer, one.relative)
        for one in distances(stored.vlm, stored.backbone, progress)
    )
    write_text(kept, json.dumps([asdict(one) for one in found]) + "\n")
    return found
