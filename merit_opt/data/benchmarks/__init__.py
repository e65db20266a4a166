"""Public benchmarks, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from merit_opt.data.benchmarks.benchmark import Benchmark
from merit_opt.data.benchmarks.mmvu import MMVU
from merit_opt.data.benchmarks.mvbench import MVBENCH
from merit_opt.data.benchmarks.tempcompass import TEMPCOMPASS
from merit_opt.data.benchmarks.tomato import TOMATO
from merit_opt.data.benchmarks.tvbench import TVBENCH
from merit_opt.data.benchmarks.video_holmes import VIDEO_HOLMES
from merit_opt.data.benchmarks.videomme import VIDEOMME
from merit_opt.data.benchmarks.vinoground import VINOGROUND

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        b.name: b
        for b in (
            MMVU,
            MVBENCH,
            TEMPCOMPASS,
            TOMATO,
            TVBENCH,
            VIDEO_HOLMES,
            VIDEOMME,
            VINOGROUND,
        )
    }
)
