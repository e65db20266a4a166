"""What the wheel holds, and that it works away from the checkout."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from merit_opt.cli import conf_dir


@pytest.fixture(scope="session")
def installed(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, unpacked."""
    source = tmp_path_factory.mktemp("source")
    leftovers = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("merit_opt", "conf"):
        shutil.copytree(repo / name, source / name, ignore=leftovers)
    for path in (
        p for p in repo.iterdir() if p.name in {"pyproject.toml", "LICENSE", "README.md"}
    ):
        shutil.copy(path, source)
    site = tmp_path_factory.mktemp("site")
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(source), str(source)]
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = source.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_package(repo: Path, installed: Path) -> None:
    assert files(repo / "merit_opt") - files(installed / "merit_opt") == set()


def test_the_wheel_holds_every_option_file(repo: Path, installed: Path) -> None:
    assert files(installed / "merit_opt" / "conf") == files(repo / "conf")


def test_the_wheel_holds_nothing_else(installed: Path) -> None:
    assert {path.name.partition("-")[0] for path in installed.iterdir()} == {"merit_opt"}


@pytest.fixture(scope="session")
def metadata(installed: Path) -> Message:
    [path] = installed.glob("*.dist-info/METADATA")
    return message_from_string(path.read_text())


def test_the_wheel_says_what_it_is(repo: Path, metadata: Message) -> None:
    assert metadata["Name"] == "merit-opt"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert metadata.get_payload() == (repo / "README.md").read_text()


def test_the_wheel_needs_the_tools_of_developers_only_as_extras(metadata: Message) -> None:
    needed = [Requirement(line) for line in metadata.get_all("Requires-Dist", [])]
    always = {r.name for r in needed if "extra" not in str(r.marker)}
    assert always >= {"torch", "transformers", "optuna", "mlflow", "hydra-core"}
    assert not always & {"pytest", "ruff", "mkdocs", "mkdocs-material", "twine", "build"}


def test_the_wheel_brings_the_console_script(installed: Path) -> None:
    [path] = installed.glob("*.dist-info/entry_points.txt")
    assert path.read_text().split() == [
        "[console_scripts]",
        "merit-opt",
        "=",
        "merit_opt.cli.main:main",
    ]


def test_a_citation_names_the_version(repo: Path, metadata: Message) -> None:
    cited = yaml.safe_load((repo / "CITATION.cff").read_text())
    assert cited["version"] == metadata["Version"]


def test_the_wheel_finds_its_options_from_any_folder(installed: Path, tmp_path: Path) -> None:
    code = "from merit_opt.cli import conf_dir; print(conf_dir())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()) == installed / "merit_opt" / "conf"


def test_a_checkout_finds_its_options(repo: Path) -> None:
    assert conf_dir() == repo / "conf"


def test_every_package_is_declared(repo: Path) -> None:
    declared = tomllib.loads((repo / "pyproject.toml").read_text())["tool"]["setuptools"]
    packages = {
        ".".join(path.parent.relative_to(repo).parts)
        for path in (repo / "merit_opt").rglob("__init__.py")
    }
    assert set(declared["packages"]) == packages | {"merit_opt.conf"}
