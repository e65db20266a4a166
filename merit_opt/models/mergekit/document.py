"""A mergekit YAML file as values: its fields checked, nothing yet said about tensors.

The field names and their meaning are those of mergekit 0.1.5 (`mergekit/config.py`).
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from merit_opt.errors import UserError
from merit_opt.models.mergekit.loader import entries_of, load_plain, record_of, shown
from merit_opt.models.mergekit.roles import Roles, roles_of

METHODS = {
    "linear": ({"weight"}, {"normalize"}),
    "task_arithmetic": ({"weight"}, {"normalize", "lambda"}),
    "ties": ({"weight", "density"}, {"normalize", "lambda", "rescale"}),
    "slerp": (set[str](), {"t"}),
}
"""Method -> parameters it reads per model (and in every wider place), parameters it reads only
in wider places: a slice, a module, the whole file."""

INERT = {"int8_mask", "rescale", "density", "embed_slerp"}
"""Parameters that the methods above accept and that, where they do not read them, change no tensor."""

OF_TASK_VECTORS = {"task_arithmetic", "ties"}
"""Methods of a `base_model` and any number of models beside it."""

FLOATS = ("float16", "bfloat16", "float32", "float64")
TEXT_MODULE = "text_decoder"
_LARGEST_NUMBER = 1e6
_MOST_LAYERS = 10_000


@dataclass(frozen=True, slots=True)
class Clause:
    """One entry of a parameter: a value, or a gradient over a slice's layers, for some tensors.

    Attributes:
        filter: Substring of the names of the tensors meant; None means all.
        values: One value, or the knots of a gradient from a slice's first layer to its last.
    """

    filter: str | None
    values: tuple[float, ...]

    def matches(self, name: str) -> bool:
        """Whether the tensor `name` is meant."""
        return self.filter is None or self.filter == "*" or self.filter in name

    def at(self, depth: float) -> float:
        """The value at `depth` in [0, 1], linear between the knots."""
        scaled = depth * (len(self.values) - 1)
        low = int(scaled)
        high = min(low + 1, len(self.values) - 1)
        share = scaled - low
        return (1 - share) * self.values[low] + share * self.values[high]


@dataclass(frozen=True, slots=True)
class Setting:
    """A parameter as written in one place.

    Attributes:
        clauses: The first that matches a tensor counts; none may.
        place: Where in the file, such as `models[1].parameters.weight`.
    """

    clauses: tuple[Clause, ...]
    place: str

    def at(self, name: str, depth: float | None) -> float | None:
        """The value for the tensor `name`, or None where no clause matches.

        Args:
            name: The tensor's name on disk.
            depth: Where in the slice its layer lies, in [0, 1]; None means that this is unknown.

        Raises:
            UserError: The depth is unknown and the value depends on it.
        """
        clause = next((c for c in self.clauses if c.matches(name)), None)
        if clause is None:
            return None
        if depth is None and len(set(clause.values)) > 1:
            raise UserError(
                f"{self.place}: the gradient reaches {name}, but a recipe merges decoder layers "
                "only; give the gradient a filter that only they match"
            )
        return clause.at(depth or 0.0)


Scope = Mapping[str, Setting]


@dataclass(frozen=True, slots=True)
class Source:
    """One model's part in a slice.

    Attributes:
        model: As written in the file.
        layers: The layers taken, of its own numbering.
        parameters: What is set for this model in this slice.
    """

    model: str
    layers: range
    parameters: Scope


@dataclass(frozen=True, slots=True)
class Slice:
    """Successive output layers; `parameters` are for all sources."""

    sources: tuple[Source, ...]
    parameters: Scope


@dataclass(frozen=True, slots=True)
class Module:
    """A stack of layers with what stands before and after it; its slices in output order."""

    slices: tuple[Slice, ...]
    parameters: Scope


@dataclass(frozen=True, slots=True)
class Document:
    """A whole file.

    Attributes:
        method: One of `METHODS`.
        roles: Which model is which; a base only where it is a third model.
        base: `base_model`.
        decoder: The module that holds the decoder layers.
        towers: The other modules by name.
        everywhere: Whether `decoder` holds for every module of the model: the `models:` form.
        parameters: What is set for the whole file.
    """

    method: str
    roles: Roles
    base: str | None
    decoder: Module
    towers: Mapping[str, Module]
    everywhere: bool
    parameters: Scope


def parse(text: str, n_layers: int, pair: Roles) -> Document:
    """The document that `text` holds.

    Args:
        text: YAML without tags, anchors and aliases, of at most 1 MB.
        n_layers: Decoder layers of the VLM.
        pair: The models that the recipe is for.

    Raises:
        UserError: It is not YAML, or not a file this reads; the message names the place.
    """
    forms = {"models", "slices", "modules"}
    plain = {"dtype", "out_dtype", "tokenizer_source", "tokenizer", "chat_template"}
    top = record_of(
        load_plain(text),
        "",
        required={"merge_method"},
        optional=forms | plain | {"base_model", "parameters"},
    )
    method = top["merge_method"]
    if not isinstance(method, str) or method not in METHODS:
        raise UserError(f"merge_method: this reads {', '.join(METHODS)}; got {shown(method)}")
    if len(top.keys() & forms) != 1:
        raise UserError("a mergekit file has exactly one of models:, slices: and modules:")
    for key in ("dtype", "out_dtype"):
        _check_float(top.get(key), key)
    base = _model(top["base_model"], "base_model") if "base_model" in top else None
    reader = _Reader(method, base, n_layers)
    modules = reader.modules(top)
    name = _decoder_name(modules)
    roles = _roles(modules, method, base, pair)
    _check_tokenizer(top, roles.vlm, base)
    return Document(
        method=method,
        roles=roles,
        base=base,
        decoder=modules[name],
        towers={key: module for key, module in modules.items() if key != name},
        everywhere="models" in top,
        parameters=reader.scope(top, "", per_model=False),
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the nested parts of a file whose method, base model and depth are known."""

    method: str
    base: str | None
    n_layers: int

    def modules(self, top: Mapping[str, object]) -> dict[str, Module]:
        if "modules" not in top:
            return {"": Module(self.slices(top, ""), {})}
        named = top["modules"]
        if not isinstance(named, dict) or not named or not all(isinstance(k, str) for k in named):
            raise UserError(f"modules: expected names with a module each, got {shown(named)}")
        return {key: self.module(value, f"modules.{key}") for key, value in named.items()}

    def module(self, value: object, place: str) -> Module:
        record = record_of(value, place, set(), {"slices", "models", "parameters"})
        if len(record.keys() & {"slices", "models"}) != 1:
            raise UserError(f"{place}: expected exactly one of slices: and models:")
        prefix = f"{place}."
        return Module(self.slices(record, prefix), self.scope(record, prefix, per_model=False))

    def slices(self, record: Mapping[str, object], prefix: str) -> tuple[Slice, ...]:
        if "models" in record:
            return (self.models(record["models"], f"{prefix}models"),)
        place = f"{prefix}slices"
        entries = entries_of(record["slices"], place)
        return tuple(self.slice(entry, f"{place}[{i}]") for i, entry in enumerate(entries))

    def models(self, value: object, place: str) -> Slice:
        """All layers of each model; mergekit adds a base model that is not listed."""
        sources: list[Source] = []
        for i, entry in enumerate(entries_of(value, place)):
            here = f"{place}[{i}]"
            record = record_of(entry, here, {"model"}, {"parameters"})
            sources.append(self.source(record, here, range(self.n_layers)))
        if self.base is not None and self.base not in {s.model for s in sources}:
            sources.append(Source(self.base, range(self.n_layers), {}))
        return _slice(sources, {}, place)

    def slice(self, value: object, place: str) -> Slice:
        record = record_of(value, place, {"sources"}, {"base_model", "parameters"})
        if "base_model" in record and record["base_model"] != self.base:
            raise UserError(
                f"{place}.base_model: expected the file's own base_model, {shown(self.base)}, "
                f"got {shown(record['base_model'])}"
            )
        sources: list[Source] = []
        for i, entry in enumerate(entries_of(record["sources"], f"{place}.sources")):
            here = f"{place}.sources[{i}]"
            source = record_of(entry, here, {"model", "layer_range"}, {"parameters"})
            layers = _layers(source["layer_range"], f"{here}.layer_range")
            sources.append(self.source(source, here, layers))
        return _slice(sources, self.scope(record, f"{place}.", per_model=False), place)

    def source(self, record: Mapping[str, object], place: str, layers: range) -> Source:
        model = _model(record["model"], f"{place}.model")
        return Source(model, layers, self.scope(record, f"{place}.", per_model=True))

    def scope(self, record: Mapping[str, object], prefix: str, *, per_model: bool) -> Scope:
        if "parameters" not in record:
            return {}
        place = f"{prefix}parameters"
        everywhere, wide = METHODS[self.method]
        read = everywhere if per_model else everywhere | wide
        given = record_of(record["parameters"], place, set(), everywhere | wide | INERT)
        unread = sorted(given.keys() & (everywhere | wide) - read)
        if unread:
            raise UserError(
                f"{place}.{unread[0]}: {self.method} does not read it for one model; move it to "
                "the parameters: of the file, of a module or of a slice"
            )
        return {
            name: _setting(name, value, f"{place}.{name}")
            for name, value in given.items()
            if name in everywhere | wide
        }


def _roles(modules: Mapping[str, Module], method: str, base: str | None, pair: Roles) -> Roles:
    sources = (s.model for m in modules.values() for piece in m.slices for s in piece.sources)
    first = () if base is None else (base,)
    models = tuple(dict.fromkeys((*first, *sources)))
    if method in OF_TASK_VECTORS and len(models) == 3:
        return roles_of(models[1:], base, pair)
    return roles_of(models, None, pair)


def _slice(sources: list[Source], parameters: Scope, place: str) -> Slice:
    counts = Counter(source.model for source in sources)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise UserError(f"{place}: {twice[0]} is listed twice; mergekit wants each model once")
    return Slice(tuple(sources), parameters)


def _model(value: object, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise UserError(f"{place}: expected a folder or a model's name, got {shown(value)}")
    if value.count("@") > 1:
        raise UserError(f"{place}: mergekit reads @ as a revision, and {shown(value)} has two")
    if "+" in value:
        raise UserError(
            f"{place}: mergekit reads what follows the + in {shown(value)} as a LoRA, which a "
            "recipe cannot say; give the merged model, or a folder without + in its name"
        )
    return value


def _layers(value: object, place: str) -> range:
    match value:
        case [int() as start, int() as stop] if not {type(start), type(stop)} - {int}:
            if 0 <= start < stop <= _MOST_LAYERS:
                return range(start, stop)
        case _:
            pass
    raise UserError(f"{place}: expected [FIRST, LAST + 1], got {shown(value)}")


def _setting(name: str, value: object, place: str) -> Setting:
    if name in ("normalize", "rescale"):
        if not isinstance(value, bool):
            raise UserError(f"{place}: expected true or false, got {shown(value)}")
        return Setting((Clause(None, (float(value),)),), place)
    entries = value if isinstance(value, list) else [value]
    if not any(isinstance(entry, dict) for entry in entries):
        return Setting((Clause(None, _values(value, place)),), place)
    indexed = enumerate(entries)
    return Setting(tuple(_clause(entry, f"{place}[{i}]") for i, entry in indexed), place)


def _clause(value: object, place: str) -> Clause:
    record = record_of(value, place, {"value"}, {"filter"})
    wanted = record.get("filter")
    if wanted is not None and not isinstance(wanted, str):
        raise UserError(f"{place}.filter: expected a part of tensor names, got {shown(wanted)}")
    return Clause(wanted, _values(record["value"], f"{place}.value"))


def _values(value: object, place: str) -> tuple[float, ...]:
    entries = entries_of(value, place) if isinstance(value, list) else [value]
    return tuple(_number(entry, place) for entry in entries)


def _number(value: object, place: str) -> float:
    """A number; YAML leaves `1e-3` a string, which mergekit reads as the number, too."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if abs(number) <= _LARGEST_NUMBER:
            return number
    raise UserError(f"{place}: expected a number of usual size, got {shown(value)}")


def _check_float(dtype: object, place: str) -> None:
    if dtype is None:
        return
    if not isinstance(dtype, str) or dtype.removeprefix("torch.") not in FLOATS:
        raise UserError(f"{place}: expected one of {', '.join(FLOATS)}, got {shown(dtype)}")


def _check_tokenizer(top: Mapping[str, object], vlm: str, base: str | None) -> None:
    if "chat_template" in top:
        raise UserError(
            "chat_template: a recipe keeps the VLM's chat template; remove the line to import"
        )
    source = top.get("tokenizer_source", vlm)
    place = "tokenizer_source"
    if "tokenizer" in top:
        place = "tokenizer.source"
        source = record_of(top["tokenizer"], "tokenizer", {"source"}, set())["source"]
    known = ("base", vlm) if base in (None, vlm) else (vlm,)
    if source not in known:
        raise UserError(
            f"{place}: a recipe keeps the VLM's tokenizer and embeddings; expected "
            f"{' or '.join(known)}, got {shown(source)}"
        )


def _decoder_name(modules: Mapping[str, Module]) -> str:
    if TEXT_MODULE in modules:
        return TEXT_MODULE
    if len(modules) > 1:
        raise UserError(
            f"modules: expected {TEXT_MODULE} for the decoder layers; got {', '.join(modules)}"
        )
    return next(iter(modules))
