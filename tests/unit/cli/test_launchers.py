"""`-m` with a launcher: as many jobs as asked for, and those of a cluster."""

import re
import signal
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

from merit_opt.cli.launchers import launcher_failure, register_resolvers
from merit_opt.evaluation import prepare

SMALL = "suite.clips=6 suite.tr_per_clip=2 suite.tp_per_clip=2 tracking=none device=cpu"


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
