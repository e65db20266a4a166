"""`-m` with a launcher: processes side by side, and the jobs of a cluster."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from merit_opt.cli.launchers import launcher_failure, register_resolvers
from merit_opt.evaluation import prepare

RUN = "import sys; from merit_opt.cli.main import run; sys.exit(run(sys.argv[1:]))"
LOGS = "outputs/jobs/*_0_log.out"
SMALL = "suite.clips=6 suite.tr_per_clip=2 suite.tp_per_clip=2 tracking=none device=cpu"


def command(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    """`merit-opt LINE` in a process of its own."""
    words = [sys.executable, "-c", RUN, *line.split()]
    own = os.environ | {"PYTHONFAULTHANDLER": "1"}
    return subprocess.run(words, cwd=folder, env=own, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ([], -1),
        (["seed=0,1"], -1),
        (["worker=3"], -1),
        (["worker=range(0,4)", "seed=0,1"], 4),
        (["worker=0,1,5"], 3),
        (["worker=choice(2,3)"], 2),
    ],
)
def test_as_many_jobs_at_once_as_worker_has_values(arguments, count):
    register_resolvers(arguments)
    assert OmegaConf.create({"n_jobs": "${workers:}"}).n_jobs == count


def test_workers_of_one_study_share_it_and_one_that_errs_ends_alone(tmp_path):
    line = f"search -m study.name=a study.trials=6 worker=0,-1,1 hydra/launcher=joblib {SMALL}"
    done = command(tmp_path, line)
    assert done.returncode == 2
    assert done.stderr.count("merit-opt: worker is 0 or more, got -1\n") == 1
    assert "Traceback" not in done.stderr
    lines = done.stdout.splitlines()
    assert {"a, worker 0: starts", "a, worker 1: starts"} <= set(lines)
    told = [re.match(r"a, worker [01]: trial (\d+) .* of 6\)$", line) for line in lines]
    numbers = sorted(int(match[1]) for match in told if match)
    assert numbers[:6] == list(range(6))
    assert len(numbers) == len(set(numbers))
    assert [line for line in lines if "done; result:" in line] == [
        "a, worker 1: done; result: outputs/studies/a/result.json"
    ]
    assert done.stdout.count("a: on confirm") == 1
    assert "\x1b" not in done.stdout
    found = json.loads((tmp_path / "outputs/studies/a/result.json").read_text())
    assert found["study"] == "a"
    config = OmegaConf.load(tmp_path / "outputs/studies/a/config.yaml")
    assert "worker" not in config
    commands = done.stdout.partition("\nnext:\n")[2].splitlines()
    [again] = [line.partition("#")[0] for line in commands if "merit-opt search" in line]
    assert "worker" not in again


def test_jobs_apart_from_the_terminal_say_in_files_what_they_did(tmp_path):
    line = "check -m hydra/launcher=submitit_local suite.clips=6 device=cpu,gpu9"
    done = command(tmp_path, line)
    assert done.returncode == 2, done.stderr
    said = done.stdout.splitlines()[0]
    assert said == (
        "output of the jobs: outputs/jobs/ (JOB_0_log.out, JOB_0_log.err); Ctrl-C ends them"
    )
    assert "\nmerit-opt: 1 problem(s):\n  device: " in f"\n{done.stderr}"
    assert "Traceback" not in done.stderr
    outputs = [path.read_text() for path in tmp_path.glob(LOGS)]
    assert sorted("all is well" in text for text in outputs) == [False, True]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the job's process through /proc")
def test_a_job_that_was_killed_is_told_with_its_last_words(tmp_path):
    line = f"search -m study.trials=200 hydra/launcher=submitit_local {SMALL}"
    words = [sys.executable, "-c", RUN, *line.split()]
    with subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        while not any("trial 0" in path.read_text() for path in tmp_path.glob(LOGS)):
            assert running.poll() is None
            time.sleep(0.05)
        [controller] = {path.name.partition("_")[0] for path in tmp_path.glob(LOGS)}
        [job] = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
        os.kill(int(job), signal.SIGKILL)
        _, told = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "merit-opt: a job ended without an answer; what it measured is kept; its last" in told
    assert "has not produced any output" in told
    assert "Traceback" not in told


SBATCH = """#!/bin/sh
cp "$1" "$(dirname "$0")/script.sh"
echo "Submitted batch job 4711"
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch) -> Path:
    """A SLURM that keeps the script it is given; its jobs succeed."""
    import submitit

    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": "#!/bin/sh\n"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    done = JobReturn(status=JobStatus.COMPLETED)
    monkeypatch.setattr(submitit.SlurmJob, "results", lambda job: [done])
    previous = signal.getsignal(signal.SIGINT)
    yield folder
    signal.signal(signal.SIGINT, previous)


def test_a_cluster_is_asked_for_an_array_of_workers_with_their_resources(merit_opt, cluster):
    asked = "hydra.launcher.partition=gpu hydra.launcher.cpus_per_task=12 hydra.launcher.mem_gb=96"
    more = "'hydra.launcher.setup=[module load cuda]' hydra.launcher.timeout_min=600"
    done = merit_opt(
        "search -m study.name=a worker=range(0,3) hydra/launcher=submitit_slurm "
        f"{asked} {more} seed=7"
    )
    assert (done.code, done.err) == (0, "")
    assert "scancel" in done.out
    script = (cluster / "script.sh").read_text()
    found = dict(re.findall(r"^#SBATCH --([\w-]+)=(.*)$", script, re.MULTILINE))
    jobs = Path("outputs/jobs").absolute()
    assert found == {
        "array": "0-2%3",
        "cpus-per-task": "12",
        "error": f"{jobs}/%A_%a_0_log.err",
        "gpus-per-node": "1",
        "job-name": "merit-opt",
        "mem": "96GB",
        "nodes": "1",
        "ntasks-per-node": "1",
        "open-mode": "append",
        "output": f"{jobs}/%A_%a_0_log.out",
        "partition": "gpu",
        "signal": "USR2@120",
        "time": "600",
        "wckey": "submitit",
    }
    assert "\nmodule load cuda\n" in script
    assert re.search(r"^srun .* -u -m submitit\.core\._submit \S+/outputs/jobs$", script, re.M)


def test_a_job_of_the_cluster_is_one_worker_of_the_study(merit_opt, cluster):
    from submitit.core.utils import DelayedSubmission

    assert merit_opt("search -m worker=range(0,3) hydra/launcher=submitit_slurm").code == 0
    pickles = sorted(Path("outputs/jobs").glob("4711_*_submitted.pkl"))
    jobs = [DelayedSubmission.load(path) for path in pickles]
    assert [job.args[0] for job in jobs] == [[f"worker={n}"] for n in range(3)]
    assert {job.function.task_function.verb for job in jobs} == {"search"}
    assert {job._timeout_countdown for job in jobs} == {10}


def test_without_a_cluster_the_launcher_is_refused(merit_opt, monkeypatch):
    monkeypatch.setenv("PATH", "")
    done = merit_opt("search -m worker=0,1 hydra/launcher=submitit_slurm")
    assert done.code == 2
    assert done.err.startswith("merit-opt: the launcher cannot be used here: Could not detect")


def test_a_launcher_that_is_not_installed_is_named_with_what_installs_it(merit_opt, monkeypatch):
    from hydra.core.plugins import Plugins

    known = Plugins.instance().class_name_to_class
    lacking = {name: c for name, c in known.items() if "submitit" not in name}
    monkeypatch.setattr(Plugins.instance(), "class_name_to_class", lacking)
    done = merit_opt("search -m worker=0,1 hydra/launcher=submitit_local")
    assert done.code == 2
    assert "pip install 'merit-opt[slurm]'" in done.err


def test_a_killed_worker_is_no_user_s_error_and_a_bug_is_not_hidden():
    assert "a worker was killed" in launcher_failure(BrokenProcessPool("terminated"))
    assert launcher_failure(RuntimeError("a bug")) is None


def test_a_sweep_computes_the_features_of_a_video_once(merit_opt, monkeypatch, tmp_path):
    (tmp_path / "outputs" / "cache").unlink()
    computed: list[object] = []
    compute = prepare.visual_features

    def spy(*arguments: object, **options: object):
        computed.append(arguments)
        return compute(*arguments, **options)

    monkeypatch.setattr(prepare, "visual_features", spy)
    assert merit_opt(f"search {SMALL} study.trials=1").code == 0
    once = len(computed)
    assert once == 6
    assert merit_opt(f"search -m seed=0,1 sampler=tpe,random {SMALL} study.trials=1").code == 0
    assert len(computed) == once
