"""How much of the second model a mergekit file gives to a tensor."""

from collections.abc import Iterator
from dataclasses import dataclass

from merit_opt.errors import UserError
from merit_opt.models.mergekit.document import Document, Module, Slice, Source

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


def coefficient(spot: Spot, name: str) -> float:
    """The share of the second model in the tensor `name`, from 0 to 1.

    Raises:
        UserError: The file does not say, or what it says is no interpolation of the two models.
    """
    match spot.document.method:
        case "linear":
            share = _linear(spot, name)
        case "task_arithmetic":
            share = _task_arithmetic(spot, name)
        case _:
            share = _slerp(spot, name)
    if not 0.0 <= share <= 1.0:
        raise UserError(
            f"the file gives {name} {share:g} of the second model; a recipe's coefficients run "
            "from 0 to 1"
        )
    return share


def _linear(spot: Spot, name: str) -> float:
    vlm = spot.document.vlm
    weights = {s.model: spot.need("weight", name, s) for s in spot.piece.sources}
    ours = weights.pop(vlm, 0.0)
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
    theirs = _beside_the_base(spot, name)
    if theirs is None:
        return 0.0
    weight = spot.need("weight", name, theirs)
    if spot.find("normalize", name) and abs(weight) >= _SMALLEST_DIVISOR:
        weight = 1.0
    scale = spot.find("lambda", name)
    return weight if scale is None else weight * scale


def _slerp(spot: Spot, name: str) -> float:
    if _beside_the_base(spot, name) is None:
        raise UserError(f"slerp needs two models for {name}, got {spot.document.vlm} alone")
    return spot.need("t", name)


def _beside_the_base(spot: Spot, name: str) -> Source | None:
    vlm = spot.document.vlm
    sources = spot.piece.sources
    if vlm not in {source.model for source in sources}:
        raise UserError(f"base_model {vlm} is missing from the sources of {name}; list it")
    return next((source for source in sources if source.model != vlm), None)
