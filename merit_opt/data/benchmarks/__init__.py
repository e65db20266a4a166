"""Public benchmarks, by name."""

from collections.abc import Mapping
from types import MappingProxyType

from merit_opt.data.benchmarks.benchmark import Benchmark
from merit_opt.data.benchmarks.dynamath import DYNAMATH
from merit_opt.data.benchmarks.egoschema import EGOSCHEMA
from merit_opt.data.benchmarks.longvideobench import LONGVIDEOBENCH
from merit_opt.data.benchmarks.mathverse import MATHVERSE
from merit_opt.data.benchmarks.mathvision import MATHVISION
from merit_opt.data.benchmarks.mathvista import MATHVISTA
from merit_opt.data.benchmarks.mlvu import MLVU
from merit_opt.data.benchmarks.mmstar import MMSTAR
from merit_opt.data.benchmarks.mmvu import MMVU
from merit_opt.data.benchmarks.motionbench import MOTIONBENCH
from merit_opt.data.benchmarks.mvbench import MVBENCH
from merit_opt.data.benchmarks.nextqa import NEXTQA
from merit_opt.data.benchmarks.perceptiontest import PERCEPTIONTEST
from merit_opt.data.benchmarks.star import STAR
from merit_opt.data.benchmarks.tempcompass import TEMPCOMPASS
from merit_opt.data.benchmarks.temporalbench import TEMPORALBENCH
from merit_opt.data.benchmarks.tomato import TOMATO
from merit_opt.data.benchmarks.tvbench import TVBENCH
from merit_opt.data.benchmarks.vcr_bench import VCR_BENCH
from merit_opt.data.benchmarks.video_holmes import VIDEO_HOLMES
from merit_opt.data.benchmarks.video_mmmu import VIDEO_MMMU
from merit_opt.data.benchmarks.video_tt import VIDEO_TT
from merit_opt.data.benchmarks.videomme import VIDEOMME
from merit_opt.data.benchmarks.vinoground import VINOGROUND

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        b.name: b
        for b in (
            DYNAMATH,
            EGOSCHEMA,
            LONGVIDEOBENCH,
            MATHVERSE,
            MATHVISION,
            MATHVISTA,
            MLVU,
            MMSTAR,
            MMVU,
            MOTIONBENCH,
            MVBENCH,
            NEXTQA,
            PERCEPTIONTEST,
            STAR,
            TEMPCOMPASS,
            TEMPORALBENCH,
            TOMATO,
            TVBENCH,
            VCR_BENCH,
            VIDEOMME,
            VIDEO_HOLMES,
            VIDEO_MMMU,
            VIDEO_TT,
            VINOGROUND,
        )
    }
)
