import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from merit_opt.data.clips.evidence import evidence_events, evidence_frames, sample_events
from merit_opt.data.clips.library import MANIFEST, clip_library, file_digest
from merit_opt.data.clips.questions import ROLES, questions_about
from merit_opt.data.clips.render import RGB, render
from merit_opt.data.clips.scene import ACTIONS, COLOURS, SHAPES, clip_events
from merit_opt.data.clips.suite import MOST_PER_CLIP, clips_suite
from merit_opt.data.media.frames import ALL_FRAMES
from merit_opt.data.media.video import read_video
from merit_opt.data.sample import Media, Sample
from merit_opt.errors import UserError

CLIPS, SEED = 24, 3
NUMBERS = {"one": 1, "two": 2, "three": 3, "four": 4}


def build(cache, *, clips=CLIPS, seed=SEED, tr=3, tp=2):
    return clips_suite(
        cache=cache,
        clips=clips,
        seed=seed,
        tr_per_clip=tr,
        tp_per_clip=tp,
        max_unusable=0.0,
        progress=None,
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def suite(cache):
    return build(cache)


def at(events, colour):
    return next(i for i, e in enumerate(events) if e.colour == colour)


RIGHT = {
    r"object number (\w+) \?": lambda e, n: {e[NUMBERS[n] - 1].colour},
    r"backwards object number (\w+) \?": lambda e, n: {e[-NUMBERS[n]].colour},
    r"object after (\w+) \?": lambda e, c: {e[at(e, c) + 1].colour},
    r"object before (\w+) \?": lambda e, c: {e[at(e, c) - 1].colour},
    r"action after (\w+) \?": lambda e, c: {e[at(e, c) + 1].action},
    r"action of (\w+) \?": lambda e, c: {e[at(e, c)].action},
    r"shape of (\w+) \?": lambda e, c: {e[at(e, c)].shape},
    r"color shown \?": lambda e: {event.colour for event in e},
    r"action shown \?": lambda e: {event.action for event in e},
}


def right_options(sample: Sample) -> set[str]:
    """Every option that the events make right, worked out from the words of the question."""
    matches = {pattern: re.fullmatch(pattern, sample.question) for pattern in RIGHT}
    ((pattern, match),) = [(p, m) for p, m in matches.items() if m]
    return RIGHT[pattern](sample_events(sample), *match.groups())


def test_exactly_one_option_is_right_and_it_is_the_answer(tmp_path, suite):
    exhaustive = build(tmp_path, clips=6, seed=1, tr=MOST_PER_CLIP["TR"], tp=MOST_PER_CLIP["TP"])
    for sample in (*suite.samples, *exhaustive.samples):
        right = right_options(sample) & set(sample.options)
        assert right == {sample.options[sample.answer]}, sample.id


def test_every_kind_is_asked_and_has_its_role(suite):
    kinds = {sample.category("kind") for sample in suite.samples}
    assert kinds == set(ROLES)
    assert Counter(suite.role(s) for s in suite.samples) == {"TR": 3 * CLIPS, "TP": 2 * CLIPS}


@pytest.mark.parametrize(("clips", "tr", "tp"), [(24, 3, 2), (5, 3, 2), (7, 1, 0), (3, 5, 5)])
def test_letters_are_as_equal_as_the_counts_allow(cache, clips, tr, tp):
    suite = build(cache, clips=clips, tr=tr, tp=tp)
    roles = Counter({"TR": clips * tr, "TP": clips * tp})
    assert Counter(suite.role(s) for s in suite.samples) == +roles
    for wanted in (roles, ["TR"], ["TP"]):
        shares = Counter(dict.fromkeys("ABCD", 0))
        shares.update(s.labels[s.answer] for s in suite.samples if suite.role(s) in wanted)
        assert max(shares.values()) - min(shares.values()) <= 1


def test_a_letter_says_nothing_about_the_kind_beyond_chance(tmp_path):
    suite = build(tmp_path, clips=200)
    counts = Counter((s.category("kind"), s.labels[s.answer]) for s in suite.samples)
    for kind in ROLES:
        total = sum(counts[kind, letter] for letter in "ABCD")
        assert all(abs(counts[kind, x] / total - 0.25) < 4 * (0.19 / total) ** 0.5 for x in "ABCD")


def test_samples_are_unique_readable_and_grouped_by_clip(suite):
    assert len({s.id for s in suite.samples}) == len(suite.samples)
    asked = {(s.group_id, s.question, s.options[s.answer]) for s in suite.samples}
    assert len(asked) == len(suite.samples)
    for sample in suite.samples:
        clip, kind, event = sample.id.split("-")
        assert (clip, kind) == (sample.group_id, sample.category("kind"))
        assert sample.media[0].path.stem == clip
        assert int(event) - 1 in evidence_events(sample)
        assert len(sample.options) == 4


def test_the_evidence_holds_the_answer_and_what_the_question_names(suite):
    for sample in suite.samples:
        events, evidence = sample_events(sample), evidence_events(sample)
        values = [v for e in events for v in (e.colour, e.shape, e.action)]
        seen = [v for i in evidence for v in (events[i].colour, events[i].shape, events[i].action)]
        named = [w for w in sample.question.split() if w in COLOURS]
        assert sample.options[sample.answer] in seen
        assert set(named) <= set(seen) <= set(values)
        assert evidence_frames(sample) == tuple(4 * i + k for i in evidence for k in range(4))
        assert sample.evidence == tuple((i / 2, (i + 1) / 2) for i in evidence)


def test_the_evidence_is_no_part_of_the_digest(suite):
    """What was measured before it was known stays valid."""
    bare = replace(suite, samples=tuple(replace(s, evidence=()) for s in suite.samples))
    assert bare.digest == suite.digest


def test_what_lies_outside_the_evidence_cannot_change_the_answer(suite):
    for sample in suite.samples:
        kind, evidence = sample.category("kind"), evidence_events(sample)
        events = list(sample_events(sample))
        for i in set(range(4)) - set(evidence):
            unused = [c for c in COLOURS if c not in {e.colour for e in events}]
            events[i] = type(events[i])(unused[0], "circle", "still", 4 * i, 4 * i + 3)
        again = [q for q in questions_about(tuple(events)) if q.kind == kind]
        answer = sample.options[sample.answer]
        assert (sample.question, answer) in {(q.text, q.answer) for q in again}, sample.id


def test_events_are_what_the_decoded_frames_show(suite):
    for sample in suite.samples[::5]:
        frames = read_video(sample.media[0].path, ALL_FRAMES).frames.astype(float)
        assert frames.shape == (16, 56, 56, 3)
        for event in sample_events(sample):
            frame = frames[event.first_frame]
            object_pixels = np.abs(frame - frame[0, 0]).sum(-1) > 90
            shade = np.median(frame[object_pixels], axis=0)
            nearest = min(COLOURS, key=lambda c: np.abs(shade - RGB[c]).sum())
            assert nearest == event.colour


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_moves_as_it_says(action):
    seed, clip, index = next(
        (s, 0, i) for s in range(999) for i, e in enumerate(clip_events(seed=s, clip=0))
        if e.action == action and e.shape != "triangle"
    )  # fmt: skip
    frames = render(clip_events(seed=seed, clip=clip), seed=seed, clip=clip)
    shown = np.any(frames[4 * index : 4 * index + 4] != frames[0, 0, 0], axis=-1)
    areas = shown.sum((1, 2)).tolist()
    middles = [np.argwhere(s).mean(0).tolist() if s.any() else None for s in shown]
    match action:
        case "blink":
            assert [a > 0 for a in areas] == [True, False, True, False]
        case "grow" | "shrink":
            assert areas == sorted(areas, reverse=action == "shrink")
            assert len(set(areas)) == 4
        case "still":
            assert len(set(areas)) == 1
            assert middles[0] == middles[3]
        case _:
            (row, column), (last_row, last_column) = middles[0], middles[3]
            moves = {"left": column - last_column, "right": last_column - column}
            moves |= {"up": row - last_row, "down": last_row - row}
            assert max(moves, key=lambda m: moves[m]) == action


def test_scenes_use_every_word_evenly():
    events = [e for clip in range(500) for e in clip_events(seed=0, clip=clip)]
    for values, seen in (
        (COLOURS, Counter(e.colour for e in events)),
        (SHAPES, Counter(e.shape for e in events)),
        (ACTIONS, Counter(e.action for e in events)),
    ):
        assert set(seen) == set(values)
        assert min(seen.values()) > 0.8 * len(events) / len(values)
    assert all(len({e.colour for e in clip_events(seed=0, clip=c)}) == 4 for c in range(99))


def test_another_process_makes_the_same_bytes_and_the_same_suite(tmp_path, suite):
    code = (
        "from pathlib import Path; from merit_opt.data.clips.suite import clips_suite;"
        f"print(clips_suite(cache=Path({str(tmp_path)!r}), clips={CLIPS}, seed={SEED},"
        "tr_per_clip=3, tp_per_clip=2, max_unusable=0.0, progress=None).digest)"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    racers = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
        for _ in range(2)
    ]
    digests = {racer.communicate()[0].decode().strip() for racer in racers}
    assert digests == {suite.digest}
    assert len(list(tmp_path.iterdir())) == 1, "temporary folders are gone"


def test_more_clips_begin_with_the_same_clips(cache):
    few = clip_library(cache=cache, clips=2, seed=SEED, progress=None)
    many = clip_library(cache=cache, clips=CLIPS, seed=SEED, progress=None)
    assert [c.media.digest for c in few] == [c.media.digest for c in many[:2]]


def test_another_seed_is_another_suite(tmp_path, suite):
    other = build(tmp_path, seed=SEED + 1)
    assert other.digest != suite.digest
    assert not {s.media[0].digest for s in other.samples} & {
        s.media[0].digest for s in suite.samples
    }


def library(cache: Path) -> Path:
    return next(p for p in cache.iterdir() if p.name.endswith(f"-{CLIPS}"))


def damage_file(folder):
    (folder / "00003.mp4").write_bytes(b"no video")


def remove_file(folder):
    (folder / "00003.mp4").unlink()


def truncate_manifest(folder):
    (folder / MANIFEST).write_text('{"clips": [{"id"')


def manifest_of_another_shape(folder):
    (folder / MANIFEST).write_text('{"clips": [{"id": "00000", "events": 3}]}')


def another_seed_s_library(folder):
    other = folder.parent / "other"
    build(other, seed=SEED + 1)
    shutil.rmtree(folder)
    shutil.copytree(library(other), folder)
    shutil.rmtree(other)


@pytest.mark.parametrize(
    "damage",
    [damage_file, remove_file, truncate_manifest, manifest_of_another_shape,
     another_seed_s_library, shutil.rmtree],
)  # fmt: skip
def test_a_damaged_library_is_made_anew(tmp_path, suite, damage):
    build(tmp_path)
    damage(library(tmp_path))
    stages = []
    again = clips_suite(
        cache=tmp_path, clips=CLIPS, seed=SEED, tr_per_clip=3, tp_per_clip=2, max_unusable=0.0,
        progress=lambda *step: stages.append(step),
    )  # fmt: skip
    assert stages[-1] == ("rendering clips", CLIPS, CLIPS)
    assert again.digest == suite.digest
    assert all(file_digest(s.media[0].path) == s.media[0].digest for s in again.samples)
    assert len(list(tmp_path.iterdir())) == 1


def test_an_intact_library_is_not_rendered_again(cache, suite):
    def refuse(*_):
        raise AssertionError

    clip_library(cache=cache, clips=CLIPS, seed=SEED, progress=refuse)


def test_an_interrupted_rendering_leaves_nothing(tmp_path):
    def interrupt(_stage, done, _total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        clip_library(cache=tmp_path, clips=CLIPS, seed=SEED, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    with pytest.raises(UserError, match=r"cannot write the rendered clips to .*cache.*name anoth"):
        build(tmp_path / "cache")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"clips": 0}, "needs clips >= 1, got 0"),
        ({"seed": -1}, "needs seed >= 0, got -1"),
        ({"tr": 18}, "tr_per_clip must lie in 0 to 17, got 18"),
        ({"tp": -1}, "tp_per_clip must lie in 0 to 13, got -1"),
        ({"tr": 0, "tp": 0}, "would have no question"),
    ],
)
def test_counts_out_of_range_are_refused_before_rendering(tmp_path, counts, message):
    with pytest.raises(UserError, match=message):
        build(tmp_path, **counts)
    assert list(tmp_path.iterdir()) == []


def test_the_evidence_of_a_foreign_sample_is_refused(tmp_path, suite):
    media = Media(path=tmp_path / "x.mp4", digest="0")
    foreign = Sample("x", (media,), "who ?", ("a", "b"), 0, (("kind", "nth"),), "x")
    with pytest.raises(UserError, match="not a rendered clip"):
        evidence_events(foreign)
    changed = Sample("y", suite.samples[0].media, "who ?", ("a", "b"), 0, (("kind", "nth"),), "y")
    with pytest.raises(UserError, match="asks nothing that its clip can answer"):
        evidence_events(changed)
