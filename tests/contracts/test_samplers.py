"""What every sampler promises. A new sampler is a row of SAMPLERS.

A proposal and its value are compared by the proposal's index, which a kill does not change.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage
from optuna.trial import TrialState
from scipy.stats.qmc import Sobol

from merit_opt.data.sample import Sample
from merit_opt.evaluation.curtail import Curtailment
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.objective import PenalisedGain
from merit_opt.evaluation.yardstick import Yardstick
from merit_opt.recipe.constructors import base
from merit_opt.recipe.recipe import PARTS, Recipe
from merit_opt.search.budget import Budget
from merit_opt.search.flip_sampler import flips
from merit_opt.search.front import Thrift
from merit_opt.search.leases import Lease, Reaper, reap
from merit_opt.search.samplers import (
    CONTROL,
    PerProposal,
    SeededSampler,
    cmaes,
    gp,
    nsgaii,
    proposal_index,
    qmc,
    random,
    tpe,
)
from merit_opt.search.spaces import Layerwise, Uniform
from merit_opt.search.storage.memory import in_memory
from merit_opt.search.storage.patient import PatientStorage
from merit_opt.search.storage.sqlite import open_sqlite
from merit_opt.search.trial import Bench, keep_choice
from merit_opt.search.worker import work
from tests.suites import made_up

SAMPLERS: dict[str, SeededSampler] = {
    "tpe": tpe(n_startup_trials=8),
    "cmaes": cmaes(sigma0=None),
    "random": random(),
    "gp": gp(n_startup_trials=14),
    "nsgaii": nsgaii(population_size=6),
    "qmc": qmc(scramble=True),
    "flips": flips(max_pairs=2, least_share=0.02),
}
REPEATING = ("nsgaii",)  # a child may be its parent
UNSEEDED = ("flips",)  # its climbs leave nothing to chance
MODELLING = ("tpe", "cmaes", "gp", "nsgaii")
LAYERS, ANSWER, TRIALS = 4, {1: 0.6, 3: 1.0}, 30
SPACE = Layerwise(LAYERS, 0.1, 1.0)
SUITE = made_up(
    (Sample(kind, (), "?", ("yes", "no"), 0, (("kind", kind),), kind) for kind in ("TR", "TP")),
    {"TR": "TR", "TP": "TP"},
)

Sequence = dict[int, tuple[dict[str, float], float]]

OTHER_PROCESS = """
import json, sys
sys.path.insert(0, sys.argv[1])
from test_samplers import SAMPLERS, run
print(json.dumps({name: sorted(run(name).items()) for name in SAMPLERS}))
"""


def measure(recipe: Recipe) -> Evaluation:
    merged = recipe.coefficients()
    miss = sum((merged.get(i, 0.0) - c) ** 2 for i, c in ANSWER.items())
    harm = sum(c for i, c in merged.items() if i not in ANSWER)
    scores = (Score(1.0, "A", -miss), Score(1.0, "A", -harm))
    return Evaluation(SUITE.digest, recipe.digest, ("TR", "TP"), scores)


def open_study(name: str, storage: PatientStorage, seed: int) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = PerProposal(SAMPLERS[name], seed=seed, space=SPACE)
    study = optuna.create_study(
        storage=storage, sampler=sampler, study_name="s", direction="maximize", load_if_exists=True
    )
    keep_choice(study, Thrift(0.02))
    return study


def live(
    name: str,
    storage: PatientStorage,
    *,
    seed: int = 0,
    before: Callable[[int], None] = lambda count: None,
    trials: int = TRIALS,
) -> optuna.Study:
    """One worker's life: asks what the dead left, works to the budget."""
    study = open_study(name, storage, seed)
    count = 0

    def evaluate(recipe: Recipe, _: Curtailment | None) -> Evaluation:
        nonlocal count
        count += 1
        before(count)
        return measure(recipe)

    objective = PenalisedGain("log_probability", 0.5)
    bench = Bench(SPACE, evaluate, Yardstick(SUITE, objective, measure(base(LAYERS))), None)
    budget = Budget(
        trials=trials,
        hours=None,
        uniform=(0.5,),
        parts=PARTS,
        random_layers=0,
        seed=seed,
        retries=3,
    )
    with Lease(storage) as lease:
        work(study, bench, budget=budget, lease=lease, watch=lambda *told: None)
    return study


def sequence(study: optuna.Study) -> Sequence:
    done = [t for t in study.trials if t.state == TrialState.COMPLETE]
    found = {proposal_index(study, t): (t.params, t.value) for t in done}
    assert len(found) == len(done)
    return found


def run(name: str, seed: int = 0) -> Sequence:
    """An uninterrupted study in a storage of its own."""
    return sequence(live(name, in_memory(), seed=seed))


@pytest.fixture(scope="module")
def uninterrupted() -> dict[str, Sequence]:
    return {name: run(name) for name in SAMPLERS}


@pytest.fixture(params=SAMPLERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_one_seed_gives_one_sequence_in_any_process(uninterrupted):
    here = Path(__file__).parent
    command = [sys.executable, "-c", OTHER_PROCESS, str(here)]
    environment = {**os.environ, "PYTHONHASHSEED": "4711"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout) == {
        name: json.loads(json.dumps(sorted(found.items())))
        for name, found in uninterrupted.items()
    }


@pytest.mark.parametrize("name", sorted(SAMPLERS.keys() - set(UNSEEDED)))
def test_another_seed_gives_another_sequence(name, uninterrupted):
    other = run(name, seed=1)
    free = [i for i in other if i >= 4]
    assert len(free) == TRIALS - 4
    assert all(other[i][0] != uninterrupted[name][i][0] for i in free)


@pytest.mark.parametrize("name", sorted(SAMPLERS.keys() - set(REPEATING)))
def test_no_two_proposals_of_a_sequence_are_drawn_alike(name, uninterrupted):
    free = [tuple(p.values()) for i, (p, _) in uninterrupted[name].items() if i >= 4]
    assert len(set(free)) == len(free)


@pytest.mark.parametrize("finished", [3, 7, 15, 29])
def test_a_study_stopped_between_trials_equals_an_uninterrupted_one(name, finished, uninterrupted):
    storage = in_memory()
    live(name, storage, trials=finished)
    assert sequence(live(name, storage)) == uninterrupted[name]


@pytest.mark.parametrize("moments", [(2,), (15,), (6, 1, 9), (20, 1, 1)])
def test_a_study_killed_in_the_middle_of_trials_equals_an_uninterrupted_one(
    name, moments, uninterrupted
):
    storage = in_memory()
    for moment in moments:

        def killed(count: int, moment: int = moment) -> None:
            if count == moment:
                raise SystemExit

        with pytest.raises(SystemExit):
            live(name, storage, before=killed)
        states = [t.state.name for t in storage.get_all_trials(0)]
        assert states.count("RUNNING") == 1
    study = live(name, storage)
    assert sequence(study) == uninterrupted[name]
    assert [t.state for t in study.trials].count(TrialState.FAIL) == len(moments)
    assert not any(t.state == TrialState.RUNNING for t in study.trials)


@pytest.mark.parametrize("name", [*MODELLING, "flips"])
def test_an_sqlite_file_opened_anew_equals_memory(name, uninterrupted, tmp_path):
    url = f"sqlite:///{tmp_path}/merit.db"
    for trials in (9, 13):
        storage = open_sqlite(url=url, patience=0.0, grace=60.0)
        study = live(name, storage, trials=trials)
        found = sequence(study)
        storage.close()
    assert found == {i: uninterrupted[name][i] for i in range(13)}


def test_the_joint_space_is_the_declared_one_whatever_controls_there_are(name):
    study = live(name, in_memory(), trials=6)
    without = [t for t in study.trials if CONTROL in t.user_attrs and not t.params]
    assert len(without) == 2
    trial = study.ask()
    SPACE.suggest(trial)
    assert trial.relative_search_space == SPACE.distributions


def test_a_control_is_not_sampled(name):
    study = live(name, in_memory(), trials=12)
    fixed = SPACE.params(base(LAYERS))
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            user_attrs={CONTROL: ["again", "{}"]},
            system_attrs={"fixed_params": fixed},
        )
    )
    control = study.ask()
    SPACE.suggest(control)
    assert control.params == fixed
    assert study.sampler.infer_relative_search_space(study, study.trials[-1]) == {}


@pytest.mark.parametrize("name", MODELLING)
def test_controls_without_parameters_do_not_turn_it_into_random_search(name, uninterrupted):
    chance = uninterrupted["random"]
    modelled = uninterrupted[name]
    late = range(15, TRIALS)
    assert all(modelled[i][0] != chance[i][0] for i in late)
    assert sum(modelled[i][1] for i in late) > sum(chance[i][1] for i in late)


def test_tpe_draws_at_random_until_enough_trials_are_finished(uninterrupted):
    same = [
        i for i in range(4, TRIALS) if uninterrupted["tpe"][i][0] == uninterrupted["random"][i][0]
    ]
    assert same == list(range(4, 8))


def test_the_first_generation_is_drawn_at_random(uninterrupted):
    chance, bred = uninterrupted["random"], uninterrupted["nsgaii"]
    assert [i for i in range(4, TRIALS) if bred[i][0] == chance[i][0]] == list(range(4, 10))


def bred_for_two_objectives(storage: BaseStorage, trials: int) -> list[tuple[object, object]]:
    study = optuna.create_study(
        storage=storage,
        sampler=PerProposal(SAMPLERS["nsgaii"], seed=0, space=SPACE),
        study_name="pareto",
        directions=["maximize", "maximize"],
        load_if_exists=True,
    )
    while len(study.trials) < trials:
        trial = study.ask()
        scores = measure(SPACE.suggest(trial)).scores
        study.tell(trial, [score.log_probability for score in scores])
    return [(t.params, t.values) for t in study.trials]


def test_breeding_for_two_objectives_resumes():
    storage = in_memory()
    bred_for_two_objectives(storage, 15)
    whole = bred_for_two_objectives(in_memory(), TRIALS)
    assert bred_for_two_objectives(storage, TRIALS) == whole
    late, early = whole[-12:], whole[:6]
    assert sum(sum(v) for _, v in late) / 12 > sum(sum(v) for _, v in early) / 6


def test_a_sequence_of_points_leaves_no_gap_for_what_was_enqueued(uninterrupted):
    engine = Sobol(2 * LAYERS, scramble=True, seed=0)
    points = engine.random(32)[: TRIALS - 4]
    masks = [[int(x >= 0.5) for x in point[0::2]] for point in points]
    drawn = [uninterrupted["qmc"][i][0] for i in range(4, TRIALS)]
    assert [[params[f"L{i:02d}.mask"] for i in range(LAYERS)] for params in drawn] == masks


def test_a_proposal_depends_on_seed_index_and_finished_trials_alone(name):
    storage = in_memory()
    study = live(name, storage, trials=12)
    first = study.ask()
    SPACE.suggest(first)
    reap(study, Reaper(storage), 3)
    again = open_study(name, storage, 0).ask()
    SPACE.suggest(again)
    assert again.params == first.params
    assert math.isfinite(sum(again.params.values()))


def test_one_dimension_is_enough_for_cmaes():
    space = Uniform(LAYERS, 0.0, 1.0)
    sampler = PerProposal(cmaes(sigma0=None), seed=0, space=space)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: -((trial.suggest_float("coefficient", 0, 1) - 0.3) ** 2), 50)
    found = [trial.params["coefficient"] for trial in study.trials[-10:]]
    assert found == pytest.approx([0.3] * 10, abs=0.05)
