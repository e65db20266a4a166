"""Public benchmarks, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from merit_opt.data.benchmarks.benchmark import Benchmark
from merit_opt.data.benchmarks.dynamath import DYNAMATH
from merit_opt.data.benchmarks.mathverse import MATHVERSE
from merit_opt.data.benchmarks.mathvision import MATHVISION
from merit_opt.data.benchmarks.mathvista import MATHVISTA
from merit_opt.data.benchmarks.mmstar import MMSTAR
from merit_opt.data.benchmarks.videomme import VIDEOMME

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {b.name: b for b in (DYNAMATH, MATHVERSE, MATHVISION, MATHVISTA, MMSTAR, VIDEOMME)}
)
