"""Public benchmarks, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from merit_opt.data.benchmarks.benchmark import Benchmark
from merit_opt.data.benchmarks.egoschema import EGOSCHEMA
from merit_opt.data.benchmarks.longvideobench import LONGVIDEOBENCH
from merit_opt.data.benchmarks.mlvu import MLVU
from merit_opt.data.benchmarks.motionbench import MOTIONBENCH
from merit_opt.data.benchmarks.nextqa import NEXTQA
from merit_opt.data.benchmarks.perceptiontest import PERCEPTIONTEST
from merit_opt.data.benchmarks.star import STAR
from merit_opt.data.benchmarks.temporalbench import TEMPORALBENCH
from merit_opt.data.benchmarks.vcr_bench import VCR_BENCH
from merit_opt.data.benchmarks.video_mmmu import VIDEO_MMMU
from merit_opt.data.benchmarks.video_tt import VIDEO_TT
from merit_opt.data.benchmarks.videomme import VIDEOMME

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        b.name: b
        for b in (
            EGOSCHEMA,
            LONGVIDEOBENCH,
            MLVU,
            MOTIONBENCH,
            NEXTQA,
            PERCEPTIONTEST,
            STAR,
            TEMPORALBENCH,
            VCR_BENCH,
            VIDEO_MMMU,
            VIDEO_TT,
            VIDEOMME,
        )
    }
)
