"""Which package may import what."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

RIMS = {
    "hydra": "merit_opt/cli/",
    "omegaconf": "merit_opt/cli/",
    "optuna": "merit_opt/search/",
    "optuna_dashboard": "merit_opt/search/dashboard",
    "mlflow": "merit_opt/tracking/mlflow",
    "transformers": "merit_opt/models/",
}


def imported(module: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import"
            yield node.module or ""


def importers(repo: Path, library: str) -> list[str]:
    return [
        path.relative_to(repo).as_posix()
        for path in sorted((repo / "merit_opt").rglob("*.py"))
        if library in {name.partition(".")[0] for name in imported(path)}
    ]


def test_imports_only_go_down(repo: Path) -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Contracts: 1 kept, 0 broken." in done.stdout


@pytest.mark.parametrize(("library", "rim"), RIMS.items())
def test_only_its_rim_knows_a_library(repo: Path, library: str, rim: str) -> None:
    outside = [path for path in importers(repo, library) if not path.startswith(rim)]
    assert outside == [], f"{library} belongs to {rim}"


def test_a_recipe_is_a_value_without_torch() -> None:
    code = "import sys, merit_opt.recipe.recipe as r; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_finding_the_options_loads_no_library() -> None:
    heavy = [*RIMS, "torch", "numpy"]
    code = f"import sys, merit_opt.cli; sys.exit(not sys.modules.keys().isdisjoint({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
