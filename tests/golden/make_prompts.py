"""Write tests/golden/prompts.json: what other evaluation suites ask of the same questions.

lmms-eval 0.7.3 and ms-vlmeval 0.0.20, the release of VLMEvalKit on PyPI. Run it where they are
installed, apart from the project; what they import but do not need to write a prompt is left out:

    python -m venv reference
    reference/bin/pip install pyyaml numpy pandas pysubs2==1.8.1
    reference/bin/pip install --no-deps lmms_eval==0.7.3 ms-vlmeval==0.0.20
    reference/bin/python tests/golden/make_prompts.py

A case is a row as the dataset has it, the lines of its subtitles, and what its own builder makes of
both: the texts of the user's turn, one after another, the system message, and how the answer begins.
"""

import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import yaml

HERE = Path(__file__).parent
UNNEEDED = (
    *("PIL", "cv2", "datasets", "huggingface_hub", "imageio", "lmms_eval", "loguru"),
    *("portalocker", "requests", "torch", "torchvision", "vlmeval"),
)
LINES = ("hello there", "and goodbye, 50% of you")


class Stub(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules whose every name is an empty class."""

    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in UNNEEDED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = ModuleType(spec.name)
        module.__getattr__ = lambda name: type(name, (), {})
        return module

    def exec_module(self, module):
        pass


def loaded(distribution: str, path: str) -> ModuleType:
    file = Path(str(importlib.metadata.distribution(distribution).locate_file(path)))
    name = ".".join(Path(path).with_suffix("").parts)
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def default_keywords(distribution: str, path: str) -> dict[str, object]:
    """What a task of lmms-eval gives its builder for models that it does not know by name."""
    file = Path(str(importlib.metadata.distribution(distribution).locate_file(path)))
    text = "".join(line for line in file.open() if "!function" not in line)
    return yaml.safe_load(text)["lmms_eval_specific_kwargs"]["default"]


def videomme_rows():
    for number, question in enumerate(
        ("What comes {first}?", "Who says \u201cno\u201d, and why?")
    ):
        yield {
            "video_id": "001",
            "duration": "short",
            "domain": "Knowledge",
            "sub_category": "Geography",
            "url": "",
            "videoID": f"clip{number}",
            "question_id": f"001-{number + 1}",
            "task_type": "Temporal Reasoning",
            "question": question,
            "options": [f"{letter}. Thing {letter}'s, 50%." for letter in "ABCD"],
            "answer": "B",
        }


def mvbench_rows():
    for options in (["One thing.", "Another (that)."], ["a", "b", "c", "d", "e"], ["alone"]):
        yield {
            "video": "clip.mp4",
            "question": "What's the action, {really}?",
            "candidates": options,
            "answer": options[-1],
        }


def tempcompass_rows():
    def row(variant, lines, answer):
        text = "\n".join(lines)
        return variant, {"video_id": "100", "question": text, "answer": answer, "dim": "order"}

    yield row(
        "multi-choice",
        ["In what order?", "A. first a, then b", "B. first b, then a", "C. at once"],
        "B. first b, then a",
    )
    yield row("yes_no", ["Does it roll first?"], "no")
    for names in (
        ("Option 1", "Option 2"),
        ("Sentence A", "Sentence B"),
        ("Caption A", "Caption B"),
    ):
        lines = [f"{name}: It rolls {i} times." for i, name in enumerate(names)]
        yield row("caption_matching", ["Which one matches?", *lines], lines[1])


def other_rows():
    """(benchmark, variant, row) of those that lmms-eval alone has."""
    options = ["It's one.", 'The "other" {one}.', "Both of them."]
    yield (
        "tvbench",
        "all",
        {
            "video": "clip.mp4",
            "question": "What did it do first, 50% of the time?",
            "candidates": options[:2],
            "answer": options[0],
        },
    )
    yield (
        "tomato",
        "all",
        {
            "question": "How often does it {turn}?",
            "options": options,
            "answer": 2,
            "demonstration_type": "object",
            "key": "0001-00",
        },
    )
    yield (
        "video_holmes",
        "test",
        {
            "video ID": "film",
            "Question ID": 1,
            "Question Type": "TA",
            "Question": "Why does it {stop}?",
            "Options": dict(zip("ABC", options, strict=True)),
            "Answer": "C",
        },
    )
    yield (
        "mmvu",
        "validation",
        {
            "id": "validation_1",
            "video": "https://huggingface.co/datasets/yale-nlp/MMVU/resolve/main/videos/Art/1.mp4",
            "question_type": "multiple-choice",
            "metadata": {"subject": "Art"},
            "question": "Which {technique} is shown?",
            "choices": dict(zip("ABCDE", [*options, "four", "five"], strict=True)),
            "answer": "D",
        },
    )
    yield (
        "vinoground",
        "text",
        {
            "idx": "0_pos",
            "question": "Which caption is it?\nA. it's one\nB. {other}\nAnswer with the letter.",
            "video_name": "vinoground_videos/0_pos.mp4",
            "GT": "A",
        },
    )


def subtitle_file(folder: Path) -> Path:
    text = "".join(
        f'{i + 1}\n00:00:0{2 * i + 1},000 --> 00:00:0{2 * i + 2},000\n<font color="white" '
        f'size=".72c">{line}</font>\n\n'
        for i, line in enumerate(LINES)
    )
    (folder / "subtitle").mkdir(parents=True, exist_ok=True)
    file = folder / "subtitle" / "clip0.srt"
    file.write_text(text)
    return file


def lmms(folder: Path):
    """(benchmark, variant, row, lines of subtitles, text)."""
    tasks = "lmms_eval/tasks"
    module = loaded("lmms_eval", f"{tasks}/videomme/utils.py")
    keywords = default_keywords("lmms_eval", f"{tasks}/videomme/videomme.yaml")
    subtitle_file(folder / module.cache_name)
    for row in videomme_rows():
        yield "videomme", "plain", row, (), module.videomme_doc_to_text(row, keywords)
        lines = LINES if row["videoID"] == "clip0" else ()
        whole = {"gemini_api_flag": "full subtitle"}  # the default opens the video to drop some
        text = module.videomme_doc_to_text_subtitle(row, whole)
        yield "videomme", "subtitles", row, lines, text
    module = loaded("lmms_eval", f"{tasks}/mvbench/utils.py")
    keywords = default_keywords("lmms_eval", f"{tasks}/mvbench/mvbench_action_antonym.yaml")
    for row in mvbench_rows():
        yield "mvbench", "all", row, (), module.mvbench_doc_to_text(row, keywords)
    module = loaded("lmms_eval", f"{tasks}/tempcompass/utils.py")
    keywords = default_keywords("lmms_eval", f"{tasks}/tempcompass/_default_template_yaml")
    for variant, row in tempcompass_rows():
        builder = getattr(module, f"tempcompass_doc_to_text_{variant.replace('-', '_')}")
        yield "tempcompass", variant, row, (), builder(row, keywords)
    for benchmark, variant, row in other_rows():
        module = loaded("lmms_eval", f"{tasks}/{benchmark}/utils.py")
        given = row
        if benchmark == "vinoground":
            module.textscore_dict[row["idx"]] = row
            given = {"index": f"{row['idx']}_text"}
        yield benchmark, variant, row, (), getattr(module, f"{benchmark}_doc_to_text")(given)


def bare(class_: type, **attributes):
    """An object of a dataset, without its files."""
    found = object.__new__(class_)
    vars(found).update(attributes)
    return found


def vlmevalkit(folder: Path):
    """(benchmark, variant, row, lines of subtitles, messages)."""
    datasets = "vlmeval/dataset"
    subtitle_file(folder)
    seen = [15, 35]  # of 10 frames a second: one in each subtitle
    module = loaded("ms-vlmeval", f"{datasets}/videomme.py")
    for row in videomme_rows():
        line = row | {
            "candidates": str(row["options"]),
            "video": row["videoID"],
            "subtitle_path": f"subtitle/{row['videoID']}.srt",
        }
        for variant, wanted in (("plain", False), ("subtitles", True)):
            dataset = bare(module.VideoMME, use_subtitle=wanted, data_root=str(folder))
            dataset.save_video_frames = lambda *_: ([], seen, {"fps": 10})
            lines = LINES if wanted and row["videoID"] == "clip0" else ()
            yield "videomme", variant, row, lines, dataset.build_prompt(line, video_llm=True)
    module = loaded("ms-vlmeval", f"{datasets}/mvbench.py")
    dataset = bare(module.MVBench, fps=-1, load_into_video_and_process=lambda _: "clip.mp4")
    for row in mvbench_rows():
        line = row | {"candidates": str(row["candidates"])}
        yield "mvbench", "all", row, (), dataset.build_prompt(line, video_llm=True)
    module = loaded("ms-vlmeval", f"{datasets}/tempcompass.py")
    for variant, row in tempcompass_rows():
        class_ = module.TempCompass_YorN if variant == "yes_no" else module.TempCompass_MCQ
        question, *candidates = row["question"].split("\n")
        line = row | {
            "question": question,
            "candidates": str(candidates),
            "video": row["video_id"],
            "prefix": "./videos",
            "suffix": ".mp4",
        }
        dataset = bare(class_, data_root=str(folder))
        yield "tempcompass", variant, row, (), dataset.build_prompt(line, video_llm=True)


def case(peer, benchmark, variant, row, lines, messages):
    if isinstance(messages, str):
        messages = [{"type": "text", "value": messages}]

    def texts(role):
        found = [m["value"] for m in messages if m["type"] == "text" and m.get("role") == role]
        return "".join(found)

    return {
        "peer": peer,
        "benchmark": benchmark,
        "variant": variant,
        "row": row,
        "subtitles": list(lines),
        "system": texts("system"),
        "user": texts(None),
        "answer": texts("assistant"),
    }


def main() -> None:
    sys.meta_path.insert(0, Stub())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_HOME"] = folder
        cases = [
            case(peer, *found)
            for peer, builder in (("lmms", lmms), ("vlmevalkit", vlmevalkit))
            for found in builder(Path(folder))
        ]
    versions = {name: importlib.metadata.version(name) for name in ("lmms_eval", "ms-vlmeval")}
    text = json.dumps({"versions": versions, "cases": cases}, indent=1, ensure_ascii=False)
    (HERE / "prompts.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
