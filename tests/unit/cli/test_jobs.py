"""Jobs in this process and in others: exit codes, what is told where, and who goes on."""

import pickle
from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from merit_opt.cli import jobs
from merit_opt.cli.jobs import Job, JobFailed
from merit_opt.errors import TrialFailed, UserError


@pytest.fixture
def verb(monkeypatch):
    """Makes a verb do something; the function returned runs it as a job."""
    monkeypatch.setattr(jobs, "_interrupted", [])
    monkeypatch.setattr(jobs, "strangers", lambda cfg, schema: [])
    choices = {"hydra/launcher": "joblib"}
    known = SimpleNamespace(runtime=SimpleNamespace(choices=choices))
    monkeypatch.setattr(HydraConfig, "get", lambda: known)

    def does(action):
        def run(cfg, choices):
            return action()

        module = SimpleNamespace(run=run)
        monkeypatch.setattr(jobs.importlib, "import_module", lambda name: module)

    return does


def fails(error):
    def action():
        raise error

    return action


def elsewhere() -> Job:
    return Job("check", home=-1)


CFG = OmegaConf.create({"seed": 0})


def test_a_job_travels_to_another_process_and_its_failure_comes_back():
    job = pickle.loads(pickle.dumps(Job("search")))
    assert (job.verb, job.codes) == ("search", [])
    failed = pickle.loads(pickle.dumps(JobFailed(2, "this is wrong")))
    assert (failed.code, failed.why) == (2, "this is wrong")


@pytest.mark.parametrize("error", [UserError("no such layer"), TrialFailed("no such layer")])
def test_here_a_user_s_error_is_told_and_its_code_kept(verb, capsys, error):
    job = Job("check")
    verb(fails(error))
    job(CFG)
    verb(lambda: None)
    job(CFG)
    assert job.codes == [2, 0]
    assert capsys.readouterr() == ("", "merit-opt: no such layer\n")


def test_here_an_interrupt_goes_on_to_the_siblings(verb):
    verb(fails(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        Job("check")(CFG)


def test_elsewhere_a_job_that_succeeds_raises_nothing(verb, capsys):
    done: list[int] = []
    verb(lambda: done.append(1))
    elsewhere()(CFG)
    assert done == [1]
    assert capsys.readouterr() == ("", "")


def test_elsewhere_a_user_s_error_is_told_there_and_comes_back_as_a_code(verb, capsys):
    verb(fails(UserError("no such layer")))
    with pytest.raises(JobFailed) as failed:
        elsewhere()(CFG)
    assert (failed.value.code, failed.value.why) == (2, "")
    assert capsys.readouterr() == ("", "merit-opt: no such layer\n")


def test_elsewhere_a_bug_leaves_its_trace_there_once(verb, capsys):
    verb(fails(ZeroDivisionError("a bug")))
    with pytest.raises(JobFailed) as failed:
        elsewhere()(CFG)
    assert failed.value.code == 1
    assert pickle.loads(pickle.dumps(failed.value)).__cause__ is None
    told = capsys.readouterr().err
    assert told.count("ZeroDivisionError: a bug") == 1
    assert told.count("Traceback") == 1


def test_what_submitit_hides_in_a_file_is_told_by_the_command_too(verb, monkeypatch):
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    for error, why in (
        (UserError("no such layer"), "no such layer"),
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug"),
    ):
        verb(fails(error))
        with pytest.raises(JobFailed) as failed:
            elsewhere()(CFG)
        assert failed.value.why == why


def test_after_an_interrupt_no_job_begins_that_waits_for_the_process(verb, capsys):
    verb(fails(KeyboardInterrupt()))
    with pytest.raises(JobFailed) as failed:
        elsewhere()(CFG)
    assert failed.value.code == 130
    begun: list[int] = []
    verb(lambda: begun.append(1))
    with pytest.raises(JobFailed) as failed:
        elsewhere()(CFG)
    assert failed.value.code == 130
    assert begun == []
    assert capsys.readouterr() == ("", "")
