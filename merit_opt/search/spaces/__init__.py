"""Where recipes come from, one file a space."""

from merit_opt.search.spaces.grouped import Grouped
from merit_opt.search.spaces.layerwise import Layerwise
from merit_opt.search.spaces.merit import Merit
from merit_opt.search.spaces.smooth import Smooth
from merit_opt.search.spaces.space import (
    Params,
    SearchSpace,
    Switch,
    all_on,
    first_layers,
    switched_on,
    turned_on,
)
from merit_opt.search.spaces.uniform import Uniform

__all__ = [
    "Grouped",
    "Layerwise",
    "Merit",
    "Params",
    "SearchSpace",
    "Smooth",
    "Switch",
    "Uniform",
    "all_on",
    "first_layers",
    "switched_on",
    "turned_on",
]
