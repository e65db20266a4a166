"""How long 10,000 questions take apart from media and model: read, put into words, scored, kept."""

import argparse
import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from merit_opt.data.jsonl import jsonl_suite
from merit_opt.data.prompts import said
from merit_opt.data.suite import Suite
from merit_opt.evaluation.aggregate import chance_corrected, label_shares
from merit_opt.evaluation.evaluation import Evaluation, Score
from merit_opt.evaluation.samples_file import sample_rows, write_samples
from merit_opt.evaluation.scorers import PACKED

SAMPLES, VIDEOS = 10_000, 1_000
OPTIONS = ("the man", "the woman", "a dog", "nobody")


def write_questions(folder: Path) -> Path:
    """Ten questions about each of 1,000 files."""
    for video in range(VIDEOS):
        (folder / f"video{video:04d}.mp4").write_bytes(f"{video}".encode() * 1000)
    rows = (
        {
            "id": f"q{i}",
            "media": f"video{i % VIDEOS:04d}.mp4",
            "question": f"Who is seen first after event {i}?",
            "options": list(OPTIONS),
            "answer": i % 4,
            "role": "TR" if i % 3 else "TP",
        }
        for i in range(SAMPLES)
    )
    path = folder / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def read(path: Path) -> Suite:
    return jsonl_suite(
        path=path,
        root=None,
        prompt="letter",
        scorer="letter_logprob",
        permutations=1,
        decoding="greedy",
        max_new_tokens=1,
        sampling="uniform",
        frames=8,
        fps=1.0,
        role_field="role",
        roles={"TR": ("TR",), "TP": ("TP",)},
        max_unusable=0.0,
        select="all",
        n=1,
        select_seed=0,
        margins=None,
        cache=path.parent,
        progress=None,
    )


def scores(suite: Suite) -> tuple[Score, ...]:
    rng = random.Random(0)
    row = [-0.5, -1.5, -2.5, -3.0]
    scorer = PACKED["letter_logprob"]
    return tuple(scorer.score(s, [rng.sample(row, 4)]) for s in suite.samples)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with TemporaryDirectory() as name:
        folder = Path(name)
        path = write_questions(folder)
        began = time.perf_counter()
        suite = read(path)
        seconds = {"read": time.perf_counter() - began}
        began = time.perf_counter()
        prompt = suite.asking.prompt
        words = sum(len(said(prompt, sample, ())) for sample in suite.samples)
        seconds["put into words"] = time.perf_counter() - began
        began = time.perf_counter()
        ids = tuple(s.id for s in suite.samples)
        found = Evaluation(suite.digest, "recipe", ids, scores(suite))
        chance_corrected(found, suite)
        label_shares(found, suite)
        seconds["score"] = time.perf_counter() - began
        began = time.perf_counter()
        write_samples(folder / "samples.parquet", sample_rows(found, suite, {}))
        seconds["keep"] = time.perf_counter() - began
    print(f"{SAMPLES} samples on {VIDEOS} media, {words} characters")
    for step, value in seconds.items():
        print(f"{step:<15}{value:6.2f} s")
    print(f"{'all':<15}{sum(seconds.values()):6.2f} s")


if __name__ == "__main__":
    main()
