"""What the contract's one small copy a benchmark does not show: other layouts, times, flags."""

import csv
import importlib
import json
import zipfile

import pyarrow as pa
import pytest
from pyarrow import parquet

from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.benchmarks.benchmark import LeftOut
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.media.frames import FramePlan, choose_frames
from merit_opt.data.sample import Cue
from merit_opt.errors import UserError


@pytest.fixture
def root(tmp_path):
    (tmp_path / "copy").mkdir()
    return tmp_path / "copy"


@pytest.fixture
def read(tmp_path, root):
    def rows(name, variant):
        return list(BENCHMARKS[name].read(DatasetCopy(root, tmp_path / "cache"), variant))

    return rows


@pytest.fixture
def written(root):
    def write(name):
        importlib.import_module(f"tests.contracts.benchmarks.{name}").ROW.write(root)
        return root

    return write


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pa.Table.from_pylist(rows), path)


def test_subtitles_of_longvideobench_are_moved_to_the_videos_own_time(written, read):
    written("longvideobench")
    seen, heard = read("longvideobench", "subtitles")[:2]
    assert seen.subtitles == (Cue(40.0, 42.0, "too early"), Cue(43.0, 44.0, "now"))
    assert heard.subtitles == (Cue(0.5, 1.5, "now"),)


def test_what_is_said_cannot_be_answered_without_subtitles(written, read):
    written("longvideobench")
    flags = {v: [s.flags for s in read("longvideobench", v)[:2]] for v in ("plain", "subtitles")}
    assert flags == {"plain": [(), ("needs subtitles",)], "subtitles": [(), ()]}


def test_the_table_of_longvideobench_tells_the_level_by_category(root, read):
    row = {"video_id": "a", "id": "a_0", "video_path": "a.mp4", "subtitle_path": "a.json",
           "correct_choice": 1, "question": "Which?", "duration_group": 60,
           "starting_timestamp_for_subtitles": 0}  # fmt: skip
    options = {f"option{i}": text for i, text in enumerate(("x", "y", "N/A", "N/A", "N/A"))}
    rows = [
        row | options | {"id": category, "question_category": category}
        for category in ("S2E", "T2A", "E3E", "TOS", "SAA")
    ]
    table(root / "data" / "validation-00000-of-00001.parquet", rows)
    found = read("longvideobench", "plain")
    assert {s.options for s in found} == {("x", "y")}
    assert [s.category("level")[:2] for s in found] == ["L1", "L1", "L2", "L2", "L2"]


def test_perception_test_ends_before_the_frame_it_is_cut_at(written, read):
    written("perceptiontest")
    found = {s.id: s for s in read("perceptiontest", "val") if not isinstance(s, LeftOut)}
    assert [found[i].category("cut") for i in ("video_7_0", "video_9_0")] == ["cut", "whole"]
    assert found["video_9_0"].media[0].end is None
    times = [i / 30.0 for i in range(90)]
    plan = FramePlan("all", 1, 1.0)
    shown = choose_frames(times, plan, None, found["video_7_0"].media[0].end)
    assert shown == tuple(range(60))


def test_without_the_table_of_cuts_perception_test_is_refused(written, read):
    (written("perceptiontest") / "cut_frame_mapping_valid.json").unlink()
    with pytest.raises(UserError, match="the ends of some videos show the answer"):
        list(read("perceptiontest", "val"))


def test_the_hubs_table_of_perception_test_cannot_be_cut_without_frame_rates(root, read):
    rows = [
        {"video_name": video, "question_id": "3", "question": "Where?", "options": ["a", "b", "c"],
         "answer_id": "1", "area": "physics", "reasoning": "descriptive", "tag": ["motion"]}
        for video in ("video_1", "video_2")
    ]  # fmt: skip
    table(root / "mc_question_val" / "validation-00000-of-00001.parquet", rows)
    (root / "cut_frame_mapping_valid.json").write_text(json.dumps({"video_1": 90}))
    cut, whole = read("perceptiontest", "val")
    assert (cut.id, "frame rate" in cut.reason) == ("video_1_3", True)
    assert (whole.id, whole.answer, whole.category("cut")) == ("video_2_3", 1, "whole")


def test_star_shows_only_its_part_and_orders_its_choices(written, read):
    written("star")
    tidied = read("star", "val")[0]
    assert (tidied.media[0].start, tidied.media[0].end) == (11.1, 19.6)
    assert (tidied.options, tidied.answer) == (("The blanket.", "The table."), 1)
    assert dict(tidied.categories) == {"category": "Interaction", "template": "T1"}


def test_the_hubs_table_of_egoschema_is_the_same_questions(root, read):
    rows = [{"question_idx": "1", "question": "What?", "video_idx": "aa-1", "answer": "3",
             "option": ["A. C sits.", "B. C runs.", "C. B. waits.", "D. C eats.", "E. None."]}]  # fmt: skip
    table(root / "Subset" / "test-00000-of-00001.parquet", rows)
    (found,) = read("egoschema", "subset")
    assert found.options == ("C sits.", "C runs.", "B. waits.", "C eats.", "None.")
    assert (found.id, found.answer) == ("aa-1", 3)


def test_nextqa_is_read_from_the_hubs_table_and_flat_videos(root, read):
    row = {"video": 52, "frame_count": 30, "question": "why", "answer": 4, "qid": 1, "type": "CW"}
    table(root / "MC" / "test-00000-of-00001.parquet", [row | {f"a{i}": str(i) for i in range(5)}])
    (root / "videos").mkdir()
    (root / "videos" / "52.mp4").write_bytes(b"not looked at here")
    (found,) = read("nextqa", "test")
    assert (found.id, found.answer, found.group_id) == ("52_1", 4, "52")
    assert found.media[0].path == root / "videos" / "52.mp4"


@pytest.mark.parametrize(
    ("name", "variant", "file"),
    [
        ("nextqa", "val", "dataset/nextqa/map_vid_vidorID.json"),
        ("perceptiontest", "val", "cut_frame_mapping_valid.json"),
    ],
)
def test_a_file_that_need_not_be_there_is_not_read_through_a_link_out(
    written, read, tmp_path, name, variant, file
):
    path = written(name) / file
    path.rename(tmp_path / "outside.json")
    path.symlink_to(tmp_path / "outside.json")
    with pytest.raises(UserError, match=r"link out of suite.root"):
        read(name, variant)


@pytest.mark.parametrize("cell", ["{'A': 'x", "f(", "(" * 10_000], ids=["torn", "code", "deep"])
def test_options_of_vcr_bench_that_are_no_mapping_are_a_bad_value(root, read, cell):
    row = {"id": "1", "multiple-choice": "True", "choices": cell, "answer": "A"}
    with (root / "VCR-Bench.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row), delimiter="\t")
        writer.writeheader()
        writer.writerow(row)
    with pytest.raises(ValueError, match="choices are no mapping"):
        read("vcr_bench", "choices")


def test_vcr_bench_is_the_same_questions_as_a_table(written, read):
    here = written("vcr_bench")
    before = read("vcr_bench", "choices")
    annotations = here / "v1" / "videos" / "meta_info_video.json"
    rows = json.loads(annotations.read_text())
    annotations.unlink()
    with (here / "VCR-Bench.tsv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["index", *rows[0]], delimiter="\t")
        writer.writeheader()
        for index, row in enumerate(rows):
            path = f"v1/videos/{row['video_path']}"
            writer.writerow({"index": index} | row | {"video_path": path})
    assert read("vcr_bench", "choices") == before
    assert before[1].question == "Why did he run?"
    assert before[1].options == ("He was late.", "He was early.", "He was cold.")


def test_a_lecture_is_found_in_its_disciplines_zip(written, read):
    here = written("video_mmmu")
    (here / "Science" / "test_Physics_14.mp4").unlink()
    with zipfile.ZipFile(here / "Science.zip", "w") as file:
        file.writestr("Science/test_Physics_14.mp4", b"packed")
    media = read("video_mmmu", "perception")[1].media[0]
    assert (media.path, media.member) == (here / "Science.zip", "Science/test_Physics_14.mp4")


def test_ten_options_are_told_apart(written, read):
    written("video_mmmu")
    first = read("video_mmmu", "adaptation")[0]
    assert (len(first.options), first.answer, first.chance) == (10, 9, 0.1)
    assert dict(first.categories) == {"track": "Adaptation", "subject": "Art_Theory"}


def test_videos_of_one_name_in_two_tasks_of_mlvu_are_two_groups(written, read):
    written("mlvu")
    found = [s for s in read("mlvu", "dev") if not isinstance(s, LeftOut)]
    assert [s.group_id for s in found] == ["2_needle/a_1.mp4", "5_order/a_1.mp4"]
    assert len({s.media[0].digest for s in found}) == 2


def test_temporalbench_counts_a_video_when_all_of_it_is_right(written, read):
    written("temporalbench")
    whole = BENCHMARKS["temporalbench"].aggregates["short_qa"][1]
    found = read("temporalbench", "short_qa")
    assert whole.how == "all_right"
    assert {s.category(whole.by) for s in found} == {"short_video/Oops/a.mp4"}
    assert [s.answer for s in found] == [0, 1]
    assert found[0].options == ("He turns left.", "He turns right.")
