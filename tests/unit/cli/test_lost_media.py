"""`merit-opt attribute` where media or the cache are gone since the search."""

import json
import re
import shutil
from pathlib import Path

import pytest
from pyarrow import parquet

from merit_opt.data.clips.suite import clips_suite
from merit_opt.recipe.constructors import attention
from merit_opt.recipe.store import write_recipe

LINE = (
    "attribute suite=jsonl suite.path=own/q.jsonl suite.search_share=0.5 split=all recipe=r.json"
)
SCAN = (
    f"{LINE} tracking=none output_dir=runs method=scan method.layers=[3] method.coefficients=[1]"
)


@pytest.fixture
def clip(tmp_path, cache) -> Path:
    """One of the four clips of a suite of one's own."""
    suite = clips_suite(
        cache=cache, clips=4, seed=0, tr_per_clip=2, tp_per_clip=2, max_unusable=0.0, progress=None
    )
    videos = tmp_path / "own" / "videos"
    videos.mkdir(parents=True)
    rows = []
    for sample in suite.samples:
        path = Path(shutil.copy(sample.media[0].path, videos))
        told = {"question": sample.question, "options": list(sample.options)}
        who = {"id": sample.id, "role": suite.role(sample), "media": f"videos/{path.name}"}
        rows.append(who | told | {"answer": sample.answer})
    (tmp_path / "own" / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_recipe(tmp_path / "r.json", attention(9, {3: 1.0, 5: 1.0}))
    return path


def entry(done) -> tuple[dict, list[dict]]:
    assert (done.code, done.err) == (0, "")
    (folder,) = re.findall(r"files: (\S+)/ \(result\.json", done.out)
    found = json.loads((Path(folder) / "result.json").read_text())["methods"]["scan"]
    return found, parquet.read_table(Path(folder) / "scan.parquet").to_pylist()


def test_a_lost_clip_is_a_sentence_or_is_told_and_in_no_number(merit_opt, clip):
    whole, _ = entry(merit_opt(SCAN))
    assert (whole["n"], whole["left_out"]) == ({"TR": 8, "TP": 8}, {})
    clip.unlink()
    refused = merit_opt(SCAN)
    assert refused.code == 2
    assert re.search(
        r"4 of 16 samples cannot be asked, more than suite\.max_unusable=\S+; mend what is told here, "
        rf"or allow more of them:\n  \S+/{clip.name}: no such file",
        refused.err,
    )
    done = merit_opt(f"{SCAN} suite.max_unusable=0.3")
    found, rows = entry(done)
    assert "(6 TR, 6 TP questions)" in done.out
    assert re.search(
        r"4 of 16 questions could not be asked, and are in no number above:\n"
        rf"  \S+/{clip.name}: no such file",
        done.out,
    )
    assert (found["n"], len(found["left_out"])) == ({"TR": 6, "TP": 6}, 4)
    assert {row["n"] for row in rows} == {6}
    shutil.rmtree("runs/cache")
    assert entry(merit_opt(f"{SCAN} suite.max_unusable=0.3"))[1] == rows


def test_a_deleted_cache_costs_time_and_moves_no_number(merit_opt, clip):
    first, rows = entry(merit_opt(SCAN))
    shutil.rmtree("runs/cache")
    again, same = entry(merit_opt(SCAN))
    assert same == rows
    assert again["provenance"] == first["provenance"]


def test_a_cache_that_cannot_be_written_is_a_sentence(merit_opt, clip):
    Path("runs").mkdir()
    Path("runs/cache").touch()
    done = merit_opt(SCAN)
    assert done.code == 2
    assert "runs/cache" in done.err
    assert "choose another output_dir=" in done.err
    assert "Traceback" not in done.err
