"""What an export costs beside mergekit: CPU time, bytes written, peak memory, side by side.

python experiments/0004-export-cost/run.py --mergekit PATH/TO/mergekit-yaml [--rounds N]
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    Qwen2_5_VLConfig,
    Qwen2Config,
)

from merit_opt.recipe.constructors import attention
from merit_opt.recipe.store import write_recipe

LAYERS, COEFFICIENT = 24, 0.5
SHARDS = ("100MB", "500MB")
TEXT = {
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "tie_word_embeddings": False,
    "rms_norm_eps": 1e-6,
    "bos_token_id": None,
    "eos_token_id": None,
}
VISION = {"depth": 2, "hidden_size": 64, "intermediate_size": 96, "num_heads": 2}
PLACES = {
    "neighbours": range(9, 15),
    "spread": range(0, LAYERS, 4),
}
FIGURES = ("cpu_s", "wall_s", "written_mb", "peak_rss_mb", "peak_anonymous_mb")


@dataclass(frozen=True)
class Cost:
    """Of one process: what it took, and what it left on the disk that was not there before."""

    cpu_s: float
    wall_s: float
    written_mb: float
    peak_rss_mb: float
    peak_anonymous_mb: float


def main() -> None:
    """Make the checkpoints, run both tools in turn, print and write the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--mergekit", type=Path, required=True, help="mergekit-yaml of 0.1.5")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("result.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        make_checkpoints(Path(folder))
        result = compare(Path(folder), given.mergekit, given.rounds)
        result["mergekit's bytes over ours"] = bytes_by_shard_size(Path(folder))
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    for place, found in result["places"].items():
        for figure, ratio in found["ratios"].items():
            print(f"{place:<11}{figure:<18}{ratio['median']:7.2f}  {ratio['all']}")


def compare(folder: Path, mergekit: Path, rounds: int) -> dict[str, Any]:
    setting = machine(folder, mergekit)
    ours = export_command(folder / f"vlm-{SHARDS[0]}", folder / "text")
    subprocess.run([*ours, "recipe=full:1.0", f"out={folder / 'pseudo_vlm'}"], check=True)
    places = {}
    for place, layers in PLACES.items():
        recipe, file = folder / f"{place}.json", folder / f"{place}.yml"
        write_recipe(recipe, attention(LAYERS, dict.fromkeys(layers, COEFFICIENT)))
        subprocess.run([*ours, f"recipe={recipe}", "format=mergekit", f"out={file}"], check=True)
        text = file.read_text().replace(str(folder / "text"), str(folder / "pseudo_vlm"))
        file.write_text(text)
        commands: dict[str, Callable[[Path], Sequence[str]]] = {
            "merit_opt": lambda out, recipe=recipe: [*ours, f"recipe={recipe}", f"out={out}"],
            "mergekit": lambda out, file=file: [str(mergekit), str(file), str(out), "--quiet"],
        }
        places[place] = in_turn(commands, folder, rounds)
    return {
        "gigabytes": round(size(folder / f"vlm-{SHARDS[0]}") / 1e9, 2),
        "merged": f"attention of {LAYERS // 4} of {LAYERS} layers",
        "shards": len(list((folder / f"vlm-{SHARDS[0]}").glob("*.safetensors"))),
        "rounds": rounds,
        "machine": setting,
        "places": places,
    }


def machine(folder: Path, mergekit: Path) -> dict[str, Any]:
    """What moves the figures: processors, versions, and the kind of file system that is written."""
    names = ("torch", "transformers", "safetensors", "merit-opt")
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "file system": told("stat", "-f", "-c", "%T", str(folder)),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in names},
        "mergekit's": {
            name: told(
                str(mergekit.with_name("python")),
                "-c",
                f"from importlib.metadata import version; print(version({name!r}))",
            )
            for name in ("mergekit", "torch", "transformers")
        },
    }


def told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def export_command(vlm: Path, text: Path) -> list[str]:
    start = [sys.executable, "-c", "from merit_opt.cli.main import main; main()", "export"]
    return [*start, "pair=custom", f"pair.vlm={vlm}", f"pair.backbone={text}"]


def bytes_by_shard_size(folder: Path) -> dict[str, dict[str, float]]:
    """Bytes of the whole checkpoint, which mergekit writes, over those that an export writes."""
    found: dict[str, dict[str, float]] = {}
    for shard in SHARDS:
        vlm, out = folder / f"vlm-{shard}", folder / "out"
        for place in PLACES:
            for form in ("hf", "delta"):
                recipe = [f"recipe={folder / place}.json", f"format={form}", f"out={out}"]
                command = [*export_command(vlm, folder / "text"), *recipe]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                ratio_of_bytes = round(size(vlm) / written(out, vlm), 2)
                found.setdefault(f"{place}, {form}", {})[f"shards of {shard}"] = ratio_of_bytes
                subprocess.run(["rm", "-r", str(out)], check=True)
    return found


def make_checkpoints(folder: Path) -> None:
    """A VLM and a text model of random bfloat16 weights, in shards."""
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    vision = VISION | {"out_hidden_size": TEXT["hidden_size"]}
    vlm = Qwen2_5_VLConfig(text_config=TEXT | {"rope_parameters": rope}, vision_config=vision)
    text = Qwen2Config(**TEXT, rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    model = AutoModelForImageTextToText.from_config(vlm, dtype=torch.bfloat16)
    for shard in SHARDS:
        model.save_pretrained(folder / f"vlm-{shard}", max_shard_size=shard)
    backbone = AutoModelForCausalLM.from_config(text, dtype=torch.bfloat16)
    backbone.save_pretrained(folder / "text", max_shard_size=SHARDS[0])


def in_turn(
    commands: Mapping[str, Callable[[Path], Sequence[str]]], folder: Path, rounds: int
) -> dict[str, object]:
    """Every tool once a round, each result checked against the other's, then removed."""
    costs: dict[str, list[Cost]] = {tool: [] for tool in commands}
    furthest = 0.0
    for _ in range(rounds):
        outs = {tool: folder / f"out-{tool}" for tool in commands}
        for tool, command in commands.items():
            costs[tool].append(
                measure(command(outs[tool]), outs[tool], folder / f"vlm-{SHARDS[0]}")
            )
        furthest = max(furthest, difference(*outs.values()))
        for out in outs.values():
            subprocess.run(["rm", "-r", str(out)], check=True)
    return {
        "costs": {tool: [asdict(cost) for cost in found] for tool, found in costs.items()},
        "largest difference of a weight": furthest,
        "ratios": {figure: ratio(costs, figure) for figure in FIGURES},
    }


def ratio(costs: Mapping[str, Sequence[Cost]], figure: str) -> dict[str, object]:
    """mergekit's over ours, round by round."""
    pairs = zip(costs["mergekit"], costs["merit_opt"], strict=True)
    found = [round(getattr(a, figure) / getattr(b, figure), 2) for a, b in pairs]
    return {"median": statistics.median(found), "all": found}


def measure(command: Sequence[str], out: Path, source: Path) -> Cost:
    """Run the command to its end; its children count towards its CPU time."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peaks = {"VmHWM": 0, "RssAnon": 0}
    watcher = threading.Thread(target=watch, args=(process.pid, peaks))
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    if process.returncode:
        raise SystemExit(f"{command[0]} ended with {process.returncode}")
    return Cost(
        cpu_s=round(usage.ru_utime + usage.ru_stime, 2),
        wall_s=round(wall, 2),
        written_mb=round(written(out, source) / 1e6, 1),
        peak_rss_mb=round(peaks["VmHWM"] / 1e3, 1),
        peak_anonymous_mb=round(peaks["RssAnon"] / 1e3, 1),
    )


def watch(pid: int, peaks: dict[str, int]) -> None:
    """Keep the peaks of a process's memory, in KiB, until it ends."""
    while True:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            return
        rows = dict(line.split(":", 1) for line in lines)
        if "RssAnon" not in rows:
            return
        for key in peaks:
            peaks[key] = max(peaks[key], int(rows[key].split()[0]))
        time.sleep(0.02)


def written(out: Path, source: Path) -> int:
    """Bytes of the files of `out` that are not the very files of `source`."""
    known = {path.stat().st_ino for path in source.iterdir()}
    return sum(p.stat().st_size for p in out.iterdir() if p.stat().st_ino not in known)


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def difference(one: Path, other: Path) -> float:
    """The largest difference of a weight between two checkpoints of the same names."""
    theirs = {name: file for file in other.glob("*.safetensors") for name in names(file)}
    worst, seen = 0.0, 0
    for file in sorted(one.glob("*.safetensors")):
        with safe_open(file, framework="pt") as ours:
            for name in ours.keys():  # noqa: SIM118
                with safe_open(theirs[name], framework="pt") as opened:
                    gap = ours.get_tensor(name).float() - opened.get_tensor(name).float()
                worst, seen = max(worst, gap.abs().max().item()), seen + 1
    if seen != len(theirs):
        raise SystemExit(f"{one} holds {seen} tensors, {other} {len(theirs)}")
    return worst


def names(file: Path) -> list[str]:
    with safe_open(file, framework="pt") as opened:
        return list(opened.keys())


if __name__ == "__main__":
    main()
