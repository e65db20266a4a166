"""Real suites are divided by video, with both roles on both sides; skipped without annotations."""

import csv
import os
from collections import Counter
from pathlib import Path

import pytest
from pyarrow import parquet

from merit_opt.data.benchmarks.mvbench import CHARADES, STA
from merit_opt.data.benchmarks.mvbench import read as read_mvbench
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.sample import Media, Sample
from merit_opt.data.select import selected
from merit_opt.data.split import split_by_group
from tests.contracts.benchmarks.mvbench import lay
from tests.suites import made_up

REAL = Path(os.environ.get("MERIT_OPT_SHARED", "../shared")) / "bench_data"
TIMES = {"Temporal Reasoning": "TR", "Temporal Perception": "TP"}
WHYS = dict.fromkeys(("CW", "CH", "TN", "TP"), "TR") | dict.fromkeys(
    ("TC", "DC", "DL", "DO"), "TP"
)


def suite(rows, roles):
    samples = [
        Sample(i, (Media(Path(video), video),), "?", ("a", "b"), 0, (("kind", kind),), video)
        for i, video, kind in rows
    ]
    return made_up(samples, roles)


def real(name):
    if not (REAL / name).exists():
        pytest.skip(f"{REAL / name} is not here")
    return REAL / name


@pytest.fixture(scope="module")
def videomme():
    columns = ["question_id", "videoID", "task_type"]
    table = parquet.read_table(
        real("videomme/videomme-test-00000-of-00001.parquet"), columns=columns
    )
    return suite([tuple(row[c] for c in columns) for row in table.to_pylist()], TIMES)


@pytest.fixture(scope="module")
def nextqa():
    with real("nextqa/val.csv").open(newline="") as file:
        rows = [(f"{r['video']}-{r['qid']}", r["video"], r["type"]) for r in csv.DictReader(file)]
    return suite(rows, WHYS)


@pytest.fixture(scope="module")
def mvbench(tmp_path_factory):
    root = tmp_path_factory.mktemp("mvbench")
    lay(real("mvbench"), root)
    return made_up(
        (s for s in read_mvbench(DatasetCopy(root, root), "all") if isinstance(s, Sample)), {}
    )


def charades(part):
    paths = [s.media[0].path for s in part.samples]
    return {p.name for p in paths if p.as_posix().split("/video/")[-1].startswith((STA, CHARADES))}


def roles(part):
    return Counter(part.role(s) for s in part.samples)


def groups(part):
    return {s.group_id for s in part.samples}


def check(whole, share, seed):
    split = split_by_group(whole, search_share=share, seed=seed)
    assert groups(split.search).isdisjoint(groups(split.confirm))
    assert groups(split.search) | groups(split.confirm) == groups(whole)
    for role in ("TR", "TP"):
        wanted = share * roles(whole)[role]
        assert abs(roles(split.search)[role] - wanted) <= max(2.0, 0.05 * wanted)
        assert roles(split.confirm)[role] == roles(whole)[role] - roles(split.search)[role] > 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.2, 0.4, 0.7])
def test_search_and_confirm_of_videomme_share_no_video_and_have_both_roles(videomme, share, seed):
    assert roles(videomme) == {"TR": 177, "TP": 55, "other": 2468}
    assert len(groups(videomme)) == 900
    check(videomme, share, seed)


def test_temporal_questions_of_videomme_alone_are_divided_too(videomme):
    alone = videomme.only(s.id for s in videomme.samples if videomme.role(s) != "other")
    assert len(groups(alone)) == 220
    for seed in range(5):
        check(alone, 0.4, seed)


@pytest.mark.parametrize("seed", range(3))
def test_search_and_confirm_of_nextqa_share_no_video_and_have_both_roles(nextqa, seed):
    """Its videos have 8.8 questions each, of both roles."""
    assert (len(nextqa.samples), len(groups(nextqa))) == (4996, 570)
    check(nextqa, 0.4, seed)


def test_a_compact_set_of_videomme_keeps_its_roles_and_is_divided(videomme):
    chosen = selected(videomme, select="compact", n=100, seed=0, margins=None)
    assert roles(chosen) == {"TR": 76, "TP": 24}
    assert len(groups(chosen)) == 100
    check(chosen, 0.4, 0)


def test_the_questions_on_time_of_videomme_are_what_a_compact_set_has_at_most(videomme):
    assert roles(selected(videomme, select="compact", n=232, seed=0, margins=None)) == {
        "TR": 177,
        "TP": 55,
    }


@pytest.mark.parametrize("seed", range(3))
def test_search_and_confirm_of_mvbench_share_no_charades_video(mvbench, seed):
    """Twelve of its videos are in two folders."""
    split = split_by_group(mvbench, search_share=0.4, seed=seed)
    assert charades(split.search)
    assert charades(split.search).isdisjoint(charades(split.confirm))
