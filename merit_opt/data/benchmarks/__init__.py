"""Public benchmarks, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from merit_opt.data.benchmarks.benchmark import Benchmark
from merit_opt.data.benchmarks.videomme import VIDEOMME

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType({b.name: b for b in (VIDEOMME,)})
