"""By what rule a mergekit file merges a tensor."""

from collections.abc import Iterator
from dataclasses import dataclass

from merit_opt.errors import UserError
from merit_opt.models.mergekit.document import Document, Module, Slice, Source
from merit_opt.recipe.rules import Lerp, Rule, Slerp, TaskArithmetic, Ties

# mergekit weighs in float32, so that weights which sum to one need do so only within this.
_ROUNDING = 1e-6
# Below this mergekit's task_arithmetic does not divide by a weight.
_SMALLEST_DIVISOR = 1e-8


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a tensor's parameters come from.

    Attributes:
        document: The whole file.
        module: The module the tensor lies in.
        piece: Its slice.
        depth: Where in the slice its layer lies, from 0 to 1; None means that this is unknown.
    """

    document: Document
    module: Module
    piece: Slice
    depth: float | None

    def find(self, parameter: str, name: str, source: Source | None = None) -> float | None:
        """The value for the tensor `name` in the narrowest place that has one."""
        wide = (self.piece.parameters, self.module.parameters, self.document.parameters)
        for scope in (*((source.parameters,) if source else ()), *wide):
            setting = scope.get(parameter)
            value = setting.at(name, self.depth) if setting else None
            if value is not None:
                return value
        return None

    def find_or(
        self, parameter: str, name: str, default: float, source: Source | None = None
    ) -> float:
        """As `find`, with mergekit's default where no place has a value."""
        value = self.find(parameter, name, source)
        return default if value is None else value

    def need(self, parameter: str, name: str, source: Source | None = None) -> float:
        """As `find`.

        Raises:
            UserError: No place has a value.
        """
        value = self.find(parameter, name, source)
        if value is None:
            whose = f" of {source.model}" if source else ""
            raise UserError(f"no {parameter}{whose} for {name}; add an entry without a filter")
        return value


def decoder_spots(document: Document, n_layers: int) -> tuple[Spot, ...]:
    """The spot of each decoder layer.

    Raises:
        UserError: A slice of any module moves, repeats or leaves out layers.
    """
    for tower in document.towers.values():
        _count_layers(tower)
    module = document.decoder
    count = _count_layers(module)
    if count != n_layers:
        raise UserError(f"the slices give {count} decoder layers, but the VLM has {n_layers}")
    return tuple(
        Spot(document, module, piece, depth)
        for piece in module.slices
        for depth in _depths(len(piece.sources[0].layers))
    )


def _count_layers(module: Module) -> int:
    count = 0
    for piece in module.slices:
        expected = range(count, count + len(piece.sources[0].layers))
        moved = [source for source in piece.sources if source.layers != expected]
        if moved:
            got = moved[0].layers
            raise UserError(
                f"a recipe keeps every layer in its place, but layers {got.start} to "
                f"{got.stop - 1} of {moved[0].model} come where layers {expected.start} to "
                f"{expected.stop - 1} should"
            )
        count = expected.stop
    return count


def _depths(n_layers: int) -> tuple[float, ...]:
    return tuple(i / (n_layers - 1) for i in range(n_layers)) if n_layers > 1 else (1.0,)


def ends(document: Document) -> tuple[Spot, Spot]:
    """The spots of what stands before the decoder layers and of what stands after them."""
    module = document.decoder
    first, last = module.slices[0], module.slices[-1]
    return Spot(document, module, first, 0.0), Spot(document, module, last, 0.0)


def anywhere(document: Document) -> Iterator[Spot]:
    """Every spot that a tensor outside the language model may have."""
    modules = list(document.towers.values())
    if document.everywhere:
        modules.append(document.decoder)
    for module in modules:
        for piece in module.slices:
            yield Spot(document, module, piece, None)


def rule_for(spot: Spot, name: str) -> Rule | None:
    """The rule for the tensor `name`; None where it is the VLM's own.

    Raises:
        UserError: The file does not say, or no rule of a recipe does what it says.
    """
    if spot.document.roles.base is not None:
        return _of_task_vectors(spot, name)
    match spot.document.method:
        case "linear":
            share = _linear(spot, name)
        case "task_arithmetic":
            share = _seen_from_vlm(spot, _task_arithmetic(spot, name))
        case "slerp":
            share = _seen_from_vlm(spot, _slerp(spot, name))
        case method:
            raise UserError(
                f"a recipe's {method} has two models beside their common ancestor, the "
                "base_model; the file names one"
            )
    if not 0.0 <= share <= 1.0:
        raise UserError(
            f"the file gives {name} {share:g} of the second model; a recipe's coefficients run "
            "from 0 to 1"
        )
    kind = Slerp if spot.document.method == "slerp" else Lerp
    return kind(share) if share else None


def _linear(spot: Spot, name: str) -> float:
    weights = {s.model: spot.need("weight", name, s) for s in spot.piece.sources}
    ours = weights.pop(spot.document.roles.vlm, 0.0)
    theirs = sum(weights.values())
    total = ours + theirs
    if abs(total - 1.0) <= _ROUNDING:
        return theirs
    if abs(total) <= _ROUNDING or spot.find("normalize", name) == 0.0:
        raise UserError(
            f"the weights of {name} sum to {total:g}; expected 1, or another sum above 0 with "
            "normalize: true"
        )
    return theirs / total


def _task_arithmetic(spot: Spot, name: str) -> float:
    other = _beside_the_base(spot, name)
    if other is None:
        return 0.0
    weight = spot.need("weight", name, other)
    if spot.find("normalize", name) and abs(weight) >= _SMALLEST_DIVISOR:
        weight = 1.0
    return weight * spot.find_or("lambda", name, 1.0)


def _slerp(spot: Spot, name: str) -> float:
    if _beside_the_base(spot, name) is None:
        raise UserError(f"slerp needs two models for {name}, got {spot.document.base} alone")
    return spot.need("t", name)


def _seen_from_vlm(spot: Spot, share: float) -> float:
    """The backbone's share, given that of the model that is not `base_model`."""
    return share if spot.document.base == spot.document.roles.vlm else 1.0 - share


def _beside_the_base(spot: Spot, name: str) -> Source | None:
    base = spot.document.base
    sources = spot.piece.sources
    if base not in {source.model for source in sources}:
        raise UserError(f"base_model {base} is missing from the sources of {name}; list it")
    return next((source for source in sources if source.model != base), None)


def _of_task_vectors(spot: Spot, name: str) -> TaskArithmetic | Ties | None:
    """Of an ancestor, VLM and backbone."""
    ours, theirs, densities = _pulls(spot, name)
    total = ours + theirs
    if min(ours, theirs) < 0.0 or total <= _ROUNDING:
        raise UserError(
            f"the weights of {name} are {ours:g} and {theirs:g}; a recipe's are 0 or more, and "
            "one of them is above 0"
        )
    scale = spot.find_or("lambda", name, 1.0)
    if abs(total - 1.0) > _ROUNDING:
        scale *= 1.0 if _divides(spot, name) else total
        theirs /= total
    if not theirs:
        _require_whole(name, scale, densities[0])
        return None
    if spot.document.method == "task_arithmetic":
        return TaskArithmetic(theirs, scale)
    if densities[0] != densities[1] or not _divides(spot, name) or _rescales(spot, name):
        raise UserError(
            f"{name}: a recipe's ties has one density for both models, normalize: true and "
            "rescale: false; the file says otherwise"
        )
    return Ties(theirs, scale, densities[0])


def _pulls(spot: Spot, name: str) -> tuple[float, float, tuple[float, float]]:
    """The weight of the VLM, of the backbone, and the densities of both."""
    roles = spot.document.roles
    listed = {source.model: source for source in spot.piece.sources}
    missing = [model for model in (roles.base, roles.vlm, roles.backbone) if model not in listed]
    if missing:
        raise UserError(f"{missing[0]} is missing from the sources of {name}; list it")
    both = listed[roles.vlm], listed[roles.backbone]
    ours, theirs = (spot.need("weight", name, source) for source in both)
    one, other = (spot.find_or("density", name, 1.0, source) for source in both)
    return ours, theirs, (one, other)


def _divides(spot: Spot, name: str) -> bool:
    return bool(spot.find_or("normalize", name, float(spot.document.method == "ties")))


def _rescales(spot: Spot, name: str) -> bool:
    return bool(spot.find_or("rescale", name, 0.0))


def _require_whole(name: str, scale: float, density: float) -> None:
    if abs(scale - 1.0) > _ROUNDING or density < 1.0:
        raise UserError(
            f"the file takes nothing of the backbone into {name}, but multiplies what the VLM "
            f"learned by {scale:g} and keeps {density:g} of it; where a recipe merges nothing, "
            "it keeps the VLM's tensor, which is lambda 1 and density 1"
        )
