"""The table of suites says what the code says."""

import re
from pathlib import Path

from merit_opt.cli import conf_dir
from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.benchmarks.benchmark import Benchmark

ROW = re.compile(r"^\| `(\w+)` \| (?:pictures|videos) \|(.*)\|$", re.MULTILINE)


def row(benchmark: Benchmark) -> list[str]:
    variants = (f"{v} {benchmark.published.get(v, '?')}" for v in benchmark.variants)
    reports = (a.name for v in benchmark.variants for a in benchmark.aggregates[v])
    prompts = dict.fromkeys(name.rpartition("/")[2] for name in benchmark.prompts)
    return [
        ", ".join(variants),
        benchmark.role_field,
        ", ".join(dict.fromkeys(reports)),
        ", ".join(prompts) or "-",
        "yes" if benchmark.revision else "no",
    ]


def test_the_rows_are_the_benchmarks(repo: Path) -> None:
    page = (repo / "docs" / "suites.md").read_text()
    found = {name: [cell.strip() for cell in rest.split("|")] for name, rest in ROW.findall(page)}
    assert found == {name: row(benchmark) for name, benchmark in BENCHMARKS.items()}


def test_every_benchmark_has_an_option() -> None:
    options = {path.stem for path in (conf_dir() / "suite").glob("[a-z]*.yaml")}
    assert options == BENCHMARKS.keys() | {"clips", "jsonl"}
