"""Other layouts, cuts, groups and pairs of MVBench, TempCompass, TOMATO, TVBench and Vinoground."""

import csv
import importlib
import json
import zipfile
from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.benchmarks.benchmark import LeftOut
from merit_opt.data.benchmarks.tempcompass import group_of
from merit_opt.data.dataset_copy import DatasetCopy
from merit_opt.data.prompts import said
from merit_opt.data.sample import YES_NO
from tests.contracts.benchmarks.tempcompass import QUESTIONS
from tests.contracts.benchmarks.tomato import question


@pytest.fixture
def root(tmp_path):
    (tmp_path / "copy").mkdir()
    return tmp_path / "copy"


@pytest.fixture
def read(tmp_path, root):
    def rows(name, variant="all"):
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


def by_id(found):
    return {one.id: one for one in found}


def test_only_cut_clips_of_mvbench_have_a_start_and_an_end(written, read):
    written("mvbench")
    found = by_id(read("mvbench"))
    cut = {
        i.split("/")[0] for i, s in found.items() if not isinstance(s, LeftOut) and s.media[0].end
    }
    assert cut == {
        "action_localization", "action_prediction", "action_sequence", "episodic_reasoning",
        "object_interaction",
    }  # fmt: skip
    media = found["action_sequence/0"].media[0]
    assert (media.start, media.end, media.fps) == (1.5, 4.0, None)


def test_an_episode_of_mvbench_is_a_folder_of_frames_three_a_second(written, read):
    root = written("mvbench")
    [media] = by_id(read("mvbench"))["episodic_reasoning/0"].media
    assert media.path == root / "video" / "tvqa" / "frames_fps3_hq" / "clip1"
    assert media.fps == 3


def test_clips_that_mvbench_ships_apart_are_found(written, read):
    root = written("mvbench")
    clip = root / "video" / "clevrer" / "video_validation" / "clip1.mp4"
    clip.unlink()
    with zipfile.ZipFile(root / "video" / "data0613.zip", "w") as file:
        file.writestr("clevrer/video_validation/clip1.mp4", "from data0613")
    media = by_id(read("mvbench"))["moving_count/0"].media[0]
    assert media.member == "clevrer/video_validation/clip1.mp4"


def test_clips_of_one_name_in_two_folders_are_two_groups(written, read):
    """`video_10142.mp4` is in clevrer and in perception."""
    written("mvbench")
    found = by_id(read("mvbench"))
    assert found["moving_count/0"].group_id != found["action_count/0"].group_id
    assert found["moving_count/0"].group_id == found["object_existence/0"].group_id


def test_a_charades_clip_in_two_folders_of_mvbench_is_one_group(written, read):
    written("mvbench")
    found = by_id(read("mvbench"))
    assert found["action_localization/0"].group_id == found["action_sequence/0"].group_id


def test_a_clip_of_two_tasks_of_tvbench_is_one_group(written, read):
    written("tvbench")
    found = by_id(read("tvbench"))
    assert found["action_localization/0"].group_id == found["action_sequence/0"].group_id


def test_a_question_of_one_option_stays_and_is_flagged(written, read):
    written("mvbench")
    assert by_id(read("mvbench"))["counterfactual_inference/1"].flags == ("single option",)


def test_a_cut_clip_of_tvbench_has_its_start_and_end(written, read):
    written("tvbench")
    found = by_id(read("tvbench"))
    assert (found["action_sequence/0"].media[0].start, found["action_count/0"].media[0].start) == (
        0.5,
        None,
    )


def test_the_table_of_the_hub_and_the_file_of_github_are_the_same_tempcompass(
    tmp_path, root, written, read
):
    written("tempcompass")
    for variant, content in QUESTIONS.items():
        before = read("tempcompass", variant)
        rows = [
            {"video_id": video, "dim": dim, **q}
            for video, by_dim in content.items()
            for dim, questions in by_dim.items()
            for q in questions
        ]
        table(root / variant / "test-00000-of-00001.parquet", rows)
        (root / "questions" / f"{variant}.json").unlink()
        assert read("tempcompass", variant) == before
        (root / f"{variant}.json").write_text(json.dumps(rows))
        (root / variant / "test-00000-of-00001.parquet").unlink()
        assert read("tempcompass", variant) == before


@pytest.mark.parametrize(
    ("name", "labels"), [("Option", ("1", "2")), ("Sentence", ("A", "B")), ("Caption", ("A", "B"))]
)
def test_captions_of_tempcompass_are_scored_by_what_its_prompt_calls_them(
    written, read, name, labels
):
    written("tempcompass")
    sample = read("tempcompass", "caption_matching")[0]
    sample = replace(sample, categories=(("dim", "action"), ("named", name)))
    prompt = BENCHMARKS["tempcompass"].prompts["official"]
    assert prompt.labels(sample) == labels
    lines = said(prompt, sample, ()).splitlines()[1:3]
    assert lines == [f"{name} {x}: {o}" for x, o in zip(labels, sample.options, strict=True)]


def test_options_of_tempcompass_have_neither_letters_nor_names(written, read):
    written("tempcompass")
    choice, yes_no, named = (read("tempcompass", v)[0] for v in QUESTIONS)
    assert (choice.question, choice.options) == ("What is it doing?", ("Rolling", "Resting"))
    assert (named.question, named.options) == (
        "Which caption matches?",
        ("It rolls.", "It rests."),
    )
    assert (yes_no.question, yes_no.options, yes_no.answer) == ("Does it roll?", YES_NO, 0)
    assert choice.answer == named.answer == 1
    assert named.category("named") == "Option"


def test_a_clip_its_reverse_and_what_is_joined_with_it_are_one_group():
    videos = ["11", "11_reverse", "22_concat_0", "22_11_1", "33", "44_33_0", "55"]
    groups = group_of(videos)
    assert groups.keys() == set(videos)
    assert len({groups[v] for v in ("11", "11_reverse", "22_concat_0", "22_11_1")}) == 1
    assert groups["33"] == groups["44_33_0"]
    assert len(set(groups.values())) == 3


clips = st.sampled_from(["11", "22", "33", "44", "55"])
joined = st.builds(lambda a, b, n: f"{a}_{b}_{n}", clips, clips, st.integers(0, 9))
names = joined | clips | clips.map(lambda c: f"{c}_reverse")


@given(videos=st.lists(names, unique=True), order=st.randoms(use_true_random=False))
def test_videos_that_share_a_clip_share_a_group_in_whatever_order_they_come(videos, order):
    groups = group_of(videos)
    shuffled = list(videos)
    order.shuffle(shuffled)
    assert group_of(shuffled) == groups

    def of(video):
        return {part for part in video.split("_") if part.isdigit() and len(part) > 1}

    assert all(groups[a] == groups[b] for a in videos for b in videos if of(a) & of(b))


@pytest.mark.parametrize("file", ["shape&trend", "shape_trend"])
def test_tables_of_the_hub_are_the_same_tomato(root, read, file):
    row = question("shape&trend") | {"id": "7"}
    table(root / "data" / f"{file}-00000-of-00001-0a1b.parquet", [row])
    [sample] = read("tomato")
    assert (sample.id, sample.category("reason_type")) == ("shape&trend/7", "shape&trend")
    assert sample.group_id == "videos/object/0001-00.mp4"
    more = row | {"reason_type": "count", "video_path": "videos/object/other.mp4"}
    table(root / "data" / "test-00000-of-00001.parquet", [more])
    assert [s.group_id for s in read("tomato")][-1] == "videos/object/other.mp4"


def test_all_four_questions_of_a_pair_are_one_group_and_one_thing_to_get_right(written, read):
    written("vinoground")
    found = read("vinoground", "group")
    assert {s.group_id for s in found} == {"0"}
    assert [s.category("kind") for s in found] == ["text", "text", "video", "video"]
    assert [s.answer for s in found] == [0, 1, 0, 1]
    scores = {a.name: a for a in BENCHMARKS["vinoground"].aggregates["group"]}
    assert {a.how for a in scores.values()} == {"all_right"}
    assert scores["group score"].where == ()


def test_a_question_of_vinoground_keeps_its_caption_and_loses_its_instruction(written, read):
    written("vinoground")
    sample = read("vinoground", "video")[0]
    assert sample.question.endswith("\nCaption: it rolls before it falls")
    assert sample.options == ("First segment", "Second segment")


@pytest.mark.parametrize("text", ["Which?", "Which?\nA. one", "Which?\nA. one\nB two"])
def test_a_question_of_vinoground_without_two_options_is_left_out(root, read, text):
    row = {"idx": "0_pos", "question": text, "video_name": "x.mp4", "GT": "B"}
    (root / "vinoground_textscore.json").write_text(json.dumps([row]))
    with (root / "vinoground.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["index", "major", "minor"], ["0", "action", ""]])
    [found] = read("vinoground", "text")
    assert isinstance(found, LeftOut)


@pytest.mark.parametrize("gold", ["E", "", "AB", "NA"])
def test_a_gold_letter_without_an_option_is_left_out(written, read, gold):
    root = written("videomme")
    [path] = (root / "videomme").iterdir()
    rows = parquet.read_table(path).to_pylist()
    table(path, [rows[0] | {"answer": gold}])
    [found] = read("videomme", "plain")
    assert isinstance(found, LeftOut)


def test_a_video_of_mmvu_is_where_its_address_on_the_hub_says(written, read):
    root = written("mmvu")
    [sample] = [s for s in read("mmvu", "validation") if not isinstance(s, LeftOut)]
    assert sample.media[0].path == root / "videos" / "Art" / "1.mp4"


@pytest.mark.parametrize("folder", ["videos_cropped", "videos", "video"])
def test_films_of_video_holmes_lie_in_any_of_the_usual_folders(written, read, folder):
    root = written("video_holmes")
    (root / "videos_cropped").rename(root / folder)
    assert read("video_holmes", "test")[0].media[0].path == root / folder / "film1.mp4"
