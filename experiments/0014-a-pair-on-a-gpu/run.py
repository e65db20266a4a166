"""What a pair takes of a GPU beside what `merit-opt check` says, and how long its switches take.

python experiments/0014-a-pair-on-a-gpu/run.py FOLDER [--shape 7b] [--device cuda:0]

FOLDER gets the pair, 30 GiB of random weights, for the time of the run.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import Qwen2Config, Qwen2ForCausalLM

from merit_opt.merging.operands import Operands
from merit_opt.merging.tensors import merge_tensor
from merit_opt.models.alignment import layer_tensor
from merit_opt.models.footprint import likely_dtype
from merit_opt.models.pair import ModelPair
from merit_opt.models.source import PairSource, folder_pair
from merit_opt.models.spread import planned
from merit_opt.models.waiting import Place
from merit_opt.recipe import rules
from merit_opt.recipe.constructors import attention, full
from merit_opt.recipe.recipe import Recipe
from merit_opt.units import GIB

HERE = Path(__file__).parent
MATERIAL = HERE.parent / "0003-trial-speed"
STATUS = Path("/proc/self/status")
SHAPES = {
    "7b": (28, 3584, 18944, 28, 4, 152064, 32, 1280, 3420, 16),
    "tiny": (3, 64, 128, 4, 2, 5000, 1, 32, 64, 2),
}
PLACES: tuple[Place, ...] = ("device", "host")
SWITCHES, ONE_LAYER = 20, 10
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
SIZE = (1024, 1100)
RULES = (
    *(rules.Lerp(c) for c in (0.1, 0.25, 0.3, 0.5, 0.7, 1.0)),
    rules.Slerp(0.3),
    rules.TaskArithmetic(0.5, 0.9),
    rules.Ties(0.5, 1.0, 0.2),
    rules.TiesByCount(0.5, 1.0, 0.2),
    rules.DareLinear(0.5, 1.0, 0.5, 0),
    rules.DareTies(0.5, 1.0, 0.5, 0),
)


def main() -> int:
    """Write the pair, measure each place in a process of its own, print one table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", type=Path, default=HERE / "result.json")
    options = parser.parse_args()
    if options.device != "cpu" and not torch.cuda.is_available():
        print(f"{options.device} needs a CUDA device, and this machine has none.", file=sys.stderr)
        return 2
    places = {}
    with TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        apart(write_pair, folder, options.shape, options.device)
        for place in PLACES:
            places[place] = apart(measured, folder, place, options.device)
    result = {
        "shape": options.shape,
        "places": places,
        "arithmetic": arithmetic(options.device),
        "machine": machine(options.device),
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    Console().print(table(places))
    print(result["arithmetic"])
    return 0


def apart(act: Callable[..., Any], *arguments: Any) -> Any:
    """What `act` returns in a new process, whose memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(act, *arguments).result()


def write_pair(folder: Path, shape: str, device: str) -> None:
    """Qwen2.5-VL's classes with random bfloat16 weights, and a Qwen2 near its text model."""
    sys.path.insert(0, str(MATERIAL))
    from material import Shape, make_processor, move, random_vlm, text_sizes

    sizes = Shape(*SHAPES[shape])
    vlm = random_vlm(sizes, torch.device(device), 0)
    rope = {"rope_type": "default", "rope_theta": 1e6}
    config = Qwen2Config(**text_sizes(sizes), rope_parameters=rope)
    with torch.device(device), torch.no_grad():
        backbone = Qwen2ForCausalLM._from_config(config, dtype=torch.bfloat16)
        backbone.model.load_state_dict(vlm.model.language_model.state_dict())
        backbone.lm_head.load_state_dict(vlm.lm_head.state_dict())
        generator = torch.Generator(device).manual_seed(1)
        for name, parameter in backbone.named_parameters():
            if "self_attn" in name or "mlp" in name:
                move(parameter, generator)
    vlm.save_pretrained(folder / "vlm", max_shard_size="4GB")
    make_processor().save_pretrained(folder / "vlm")
    backbone.save_pretrained(folder / "backbone", max_shard_size="4GB")


def measured(folder: Path, place: Place, device: str) -> dict[str, Any]:
    """Memory at every step, and what the steps took."""
    source = folder_pair(folder / "vlm", folder / "backbone", None)
    torch.zeros(1, device=device)
    told = [s.wanted / GIB for s in plan_of(source, device, place).shares]
    gib, seconds = {"before": memory(device)}, {}
    begun = time.perf_counter()
    pair = source.load(device, place)
    seconds["load"] = since(begun, device)
    gib["loaded"] = memory(device)
    recipes = every_layer(pair.n_layers)
    one_layer = (attention(pair.n_layers, {0: 0.1 + 0.05 * i}) for i in range(ONE_LAYER))
    with pair.switching() as switch:

        def taken(recipe: Recipe) -> float:
            begun = time.perf_counter()
            switch(recipe)
            return since(begun, device)

        seconds["attention, first"] = taken(next(recipes))
        gib["attention"] = memory(device)
        again = [taken(next(recipes)) for _ in range(SWITCHES)]
        seconds["one layer"] = statistics.median(taken(recipe) for recipe in one_layer)
        seconds["all parts, first"] = taken(full(pair.n_layers, 0.5))
        gib["all parts"] = memory(device)
        begun = time.perf_counter()
    seconds["back from all parts"] = since(begun, device)
    gib["after"] = memory(device)
    seconds["attention"] = [statistics.median(again), min(again), max(again)]
    return {"told GiB": told, "GiB": gib, "seconds": seconds, "then": compared(pair, source)}


def plan_of(source: PairSource, device: str, place: Place) -> Any:
    """What `merit-opt check` tells of."""
    return planned(source.vlm_config, likely_dtype(source), source.alignment, device, place)


def every_layer(n_layers: int) -> Iterator[Recipe]:
    """Attention of all layers, the coefficients never the same."""
    rng = Random(0)
    while True:
        yield attention(n_layers, {i: rng.uniform(0.1, 1.0) for i in range(n_layers)})


def since(begun: float, device: str) -> float:
    """Seconds, the device waited for."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def memory(device: str) -> dict[str, float]:
    """Of this process in main memory, and on the card, in GiB."""
    rows = dict(line.split(":", 1) for line in STATUS.read_text().splitlines())
    host, most = (int(rows[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
    found = {"host": host, "host at most": most}
    if device != "cpu":
        free, total = torch.cuda.mem_get_info()
        found |= {
            "allocated": torch.cuda.memory_allocated(),
            "most allocated": torch.cuda.max_memory_allocated(),
            "reserved": torch.cuda.memory_reserved(),
            "in use": total - free,
        }
    return {name: round(size / GIB, 3) for name, size in found.items()}


def compared(pair: ModelPair, source: PairSource) -> dict[str, int]:
    """How many tensors of the decoder layers are not what the VLM's file has."""
    unlike = 0
    for tensor, stored in source.stored.vlm.items():
        live = layer_tensor(pair.model, tensor)
        unlike += not torch.equal(stored.read().to(live.device, live.dtype), live)
    return {"tensors": len(source.stored.vlm), "differ": unlike}


def arithmetic(device: str) -> dict[str, int]:
    """Every rule in every dtype, on the device and on the CPU: values that differ."""
    generator = torch.Generator().manual_seed(0)
    vlm, noise, base = (0.02 * torch.randn(SIZE, generator=generator) for _ in range(3))
    differ = 0
    for dtype in DTYPES:
        own = [t.to(dtype) for t in (vlm, base + 0.3 * noise, base)]
        for rule in RULES:
            there = merge_tensor(rule, Operands("x", *(t.to(device) for t in own)))
            differ += int((there.cpu() != merge_tensor(rule, Operands("x", *own))).sum())
    return {"merges": len(DTYPES) * len(RULES), "values each": vlm.numel(), "differ": differ}


def machine(device: str) -> dict[str, Any]:
    """What moves the figures."""
    return {
        "device": device if device == "cpu" else torch.cuda.get_device_name(device),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in ("torch", "transformers", "safetensors")},
    }


def table(places: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a figure."""
    shown = Table("", *places)
    rows: dict[str, list[str]] = {}
    for found in places.values():
        cells = {"told, GiB": found["told GiB"]}
        cells |= {f"{name}, GiB": value for name, value in found["GiB"].items()}
        cells |= {f"{name}, s": value for name, value in found["seconds"].items()}
        for name, value in (cells | {"compared then": found["then"]}).items():
            rows.setdefault(name, []).append(cell(value))
    for name, cells in rows.items():
        shown.add_row(name, *cells)
    return shown


def cell(value: Any) -> str:
    """Numbers, and what each is of."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name} {cell(one)}" for name, one in value.items())
    return ", ".join(map(cell, value)) if isinstance(value, list) else f"{value:.4g}"


if __name__ == "__main__":
    sys.exit(main())
