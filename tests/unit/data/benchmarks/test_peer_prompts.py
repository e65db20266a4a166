"""What lmms-eval and VLMEvalKit ask of a row, by their own code: see golden/make_prompts.py."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.benchmarks.mvbench import FOLDERS
from merit_opt.data.benchmarks.tvbench import NAMES
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import said
from merit_opt.data.sample import Cue

GOLDEN = json.loads((Path(__file__).parents[3] / "golden" / "prompts.json").read_text())
CASES = GOLDEN["cases"]
TABLES = {
    "videomme": "videomme/test-00000-of-00001.parquet",
    "video_holmes": "test_Video-Holmes.json",
    "mmvu": "validation.json",
    "vinoground": "vinoground_textscore.json",
}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text(json.dumps(rows))


def lay(case, root):
    row = case["row"]
    match case["benchmark"]:
        case "mvbench" | "tvbench" as name:
            for task in FOLDERS if name == "mvbench" else NAMES:
                write(root / "json" / f"{task}.json", [row] if task == "action_antonym" else [])
        case "tempcompass":
            write(root / case["variant"] / "test-00000-of-00001.parquet", [row])
        case "tomato":
            write(root / "data" / "count.json", {"0": row})
        case name:
            write(root / TABLES[name], [row])
    if case["benchmark"] == "vinoground":
        with (root / "vinoground.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["index", "major", "minor"], [0, "action", ""]])


def asked(case, root, name):
    benchmark = BENCHMARKS[case["benchmark"]]
    lay(case, root)
    copy = DatasetCopy(root, root / "cache")
    variant = "plain" if case["variant"] == "subtitles" else case["variant"]
    [sample] = benchmark.read(copy, variant)
    prompt = benchmark.prompts_of(case["variant"])[name]
    cues = tuple(Cue(float(i), i + 1.0, line) for i, line in enumerate(case["subtitles"]))
    return {
        "system": prompt.system,
        "user": said(prompt, sample, cues),
        "answer": prompt.answer_prefix,
    }


@pytest.mark.parametrize(
    "case",
    CASES,
    ids=[f"{c['peer']}-{c['benchmark']}-{c['variant']}-{i}" for i, c in enumerate(CASES)],
)
def test_the_same_question_is_asked_in_the_same_characters(case, tmp_path):
    expected = {key: case[key] for key in ("system", "user", "answer")}
    assert asked(case, tmp_path, case["peer"]) == expected


def test_the_authors_own_prompt_of_tempcompass_is_the_one_that_others_took_over():
    prompts = BENCHMARKS["tempcompass"].prompts
    assert prompts["official"] is prompts["lmms"] is prompts["vlmevalkit"]


def test_every_prompt_of_these_benchmarks_that_has_a_peers_name_is_compared():
    compared = {(c["benchmark"], c["variant"], c["peer"]) for c in CASES}
    offered = {
        (name, variant, peer)
        for name in {benchmark for benchmark, _, _ in compared}
        for variant in BENCHMARKS[name].variants
        for peer in BENCHMARKS[name].prompts_of(variant)
        if peer in ("lmms", "vlmevalkit")
    }
    same_as_text = {("vinoground", variant, "lmms") for variant in ("video", "group")}
    assert offered - same_as_text == compared
