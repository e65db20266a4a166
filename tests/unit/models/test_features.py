import multiprocessing
import os
import sys
import time
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

from merit_opt.data import versions
from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.status import MediaStatus
from merit_opt.data.sample import Media
from merit_opt.errors import UserError
from merit_opt.models import features
from merit_opt.models.families.family import InPrompt, VisualFeatures
from merit_opt.models.features import FeatureStore, feature_identity, feature_key
from merit_opt.recipe.constructors import full

KEYS = [f"{i:024x}" for i in range(1, 9)]
FEATURES = VisualFeatures(
    tokens=torch.randn(7, 16, dtype=torch.bfloat16),
    prompt=InPrompt("video", 1, ("<0.1 seconds><|video_pad|>",), 6),
    grid=(1, 2, 14),
    seconds_per_grid=0.1 + 0.2,
    deepstack=(torch.randn(7, 16), torch.randn(7, 16)),
    times=(0.0, 0.1 + 0.2),
    status=MediaStatus("partial", "PyAV (AV1, which decord does not know)", "2 packets"),
)
PLAIN = VisualFeatures(tokens=torch.zeros(3, 4), prompt=InPrompt("image", 3, None, 5))


def same(one, other):
    assert torch.equal(one.tokens, other.tokens)
    assert one.tokens.dtype == other.tokens.dtype
    assert len(one.deepstack) == len(other.deepstack)
    assert all(torch.equal(a, b) for a, b in zip(one.deepstack, other.deepstack, strict=True))
    facts = ("prompt", "grid", "seconds_per_grid", "times", "status")
    assert [getattr(one, f) for f in facts] == [getattr(other, f) for f in facts]


def held(store):
    """The keys whose files are there."""
    return sorted(path.stem for path in store.folder.glob("*.safetensors"))


def never():
    raise AssertionError("nothing should be built")


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "features", 2**30)


@pytest.fixture
def path(store):
    return store.folder / f"{KEYS[0]}.safetensors"


@pytest.mark.parametrize("known", [FEATURES, PLAIN], ids=["all", "plain"])
def test_what_was_built_once_is_read_ever_after(store, known):
    same(store.get(KEYS[0], lambda: known), known)
    same(store.get(KEYS[0], never), known)
    same(FeatureStore(store.folder, 1).get(KEYS[0], never), known)
    assert held(store) == KEYS[:1]


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_files_are_mapped_not_copied(store, path):
    big = replace(PLAIN, tokens=torch.randn(2000, 512))
    mapped = store.get(KEYS[0], lambda: big)
    assert path.name in Path("/proc/self/maps").read_text()
    assert torch.equal(mapped.tokens, big.tokens)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(p.read_bytes()[:-10]),
        lambda p: p.write_bytes(p.read_bytes()[:20]),
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(bytes(500)),
        lambda p: p.write_text("<html>404</html>"),
        lambda p: save_file({"tokens": torch.zeros(2, 2)}, p),
        lambda p: save_file({"x": torch.zeros(2, 2)}, p, metadata={"features": "{}"}),
        lambda p: p.write_bytes(p.read_bytes().replace(KEYS[0].encode(), KEYS[1].encode())),
    ],
    ids=["torn", "header", "empty", "zeros", "html", "no-facts", "other-tensors", "other-key"],
)
def test_a_torn_or_foreign_file_is_dropped_and_built_again(store, path, damage):
    store.get(KEYS[0], lambda: FEATURES)
    damage(path)
    same(store.get(KEYS[0], lambda: FEATURES), FEATURES)
    same(store.get(KEYS[0], never), FEATURES)


@pytest.mark.parametrize("error", [ValueError, PermissionError])
def test_an_error_while_building_passes_and_leaves_nothing(store, error):
    def broken():
        raise error("no such video")

    with pytest.raises(error, match="no such video"):
        store.get(KEYS[0], broken)
    assert not list(store.folder.glob("*.safetensors"))
    same(store.get(KEYS[0], lambda: FEATURES), FEATURES)


def test_the_least_recently_used_go_first(tmp_path):
    one = 200_000
    store = FeatureStore(tmp_path, 3 * one)
    big = replace(PLAIN, tokens=torch.zeros(one // 5, 1))

    def age(key, seconds):
        moment = time.time() - seconds
        os.utime(tmp_path / f"{key}.safetensors", (moment, moment))

    for i, key in enumerate(KEYS[:3]):
        store.get(key, lambda: big)
        age(key, 300 - 100 * i)
    store.get(KEYS[0], never)
    store.get(KEYS[3], lambda: big)
    assert held(store) == [KEYS[0], KEYS[2], KEYS[3]]
    assert store.size == sum(f.stat().st_size for f in tmp_path.glob("*.safetensors"))
    mapped = store.get(KEYS[2], never)
    tight = FeatureStore(tmp_path, 1)
    tight.get(KEYS[4], lambda: big)
    assert held(store) == [KEYS[4]]
    assert torch.equal(mapped.tokens, big.tokens)


def test_what_a_killed_process_was_writing_is_removed_in_the_end(tmp_path):
    old, new = tmp_path / ".writing-1", tmp_path / ".writing-2"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    FeatureStore(tmp_path, 2**30).get(KEYS[0], lambda: FEATURES)
    assert (old.exists(), new.exists()) == (False, True)


def test_the_folder_is_not_looked_through_for_every_file(tmp_path, monkeypatch):
    looks = []
    store = FeatureStore(tmp_path, 2**30)
    monkeypatch.setattr(features, "_remove_abandoned", looks.append)
    for key in KEYS:
        store.get(key, lambda: FEATURES)
    assert len(looks) == 1


def test_a_limit_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="above 0"):
        FeatureStore(tmp_path, 0)


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot keep visual features in .*file.*output_dir="):
        FeatureStore(tmp_path / "file" / "features", 2**30).get(KEYS[0], lambda: FEATURES)


def test_a_full_disk_is_a_sentence_and_leaves_nothing(store):
    resource = pytest.importorskip("resource", reason="file sizes are limited on Unix alone")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    store.get(KEYS[1], lambda: PLAIN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(UserError, match="cannot keep visual features"):
            store.get(KEYS[0], lambda: replace(PLAIN, tokens=torch.zeros(100, 100)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(p.name for p in store.folder.glob("*.safetensors")) == [f"{KEYS[1]}.safetensors"]
    assert not list(store.folder.glob(".*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_still_serves_what_it_holds(store):
    store.get(KEYS[0], lambda: FEATURES)
    store.folder.chmod(0o500)
    try:
        same(store.get(KEYS[0], never), FEATURES)
        with pytest.raises(UserError, match="cannot keep visual features"):
            store.get(KEYS[1], lambda: FEATURES)
    finally:
        store.folder.chmod(0o700)


def build_slowly(folder, counts, gate):
    torch.set_num_threads(1)

    def build():
        counts.put(os.getpid())
        time.sleep(0.3)
        return FEATURES

    gate.wait()
    same(FeatureStore(folder, 2**30).get(KEYS[0], build), FEATURES)


def hold_and_die(folder, ready):
    def build():
        ready.set()
        time.sleep(60)

    FeatureStore(folder, 2**30).get(KEYS[0], build)


@pytest.fixture
def fork():
    return multiprocessing.get_context("fork")


def test_of_two_workers_one_builds_and_the_other_waits(store, fork):
    counts, gate = fork.Queue(), fork.Event()
    workers = [fork.Process(target=build_slowly, args=(store.folder, counts, gate)) for _ in "ab"]
    for worker in workers:
        worker.start()
    gate.set()
    for worker in workers:
        worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]
    counts.get(timeout=5)
    assert counts.empty()


def test_a_lock_left_by_a_dead_process_is_taken_over(store, fork):
    ready = fork.Event()
    worker = fork.Process(target=hold_and_die, args=(store.folder, ready))
    worker.start()
    assert ready.wait(30)
    worker.kill()
    worker.join(30)
    same(store.get(KEYS[0], lambda: FEATURES), FEATURES)


def test_a_worker_does_not_wait_for_another_one_s_video(store):
    store.folder.mkdir()
    with FileLock(store.folder / f"{int(KEYS[1], 16) % features.LOCKS:02d}.lock"):
        same(store.get(KEYS[0], lambda: FEATURES), FEATURES)


def other_version_of(library):
    known = versions.version
    return lambda name: "0.0" if name == library else known(name)


def test_the_identity_changes_with_everything_that_shapes_features(
    tiny_pair_live, tiny_source, monkeypatch
):
    pair = tiny_pair_live
    video = pair.processor.video_processor
    weight = next(pair.model.model.visual.parameters())
    healthy, mean = weight.clone(), video.image_mean
    found = [feature_identity(pair, 1), feature_identity(pair, 2)]
    weight.view(-1)[-1] += 1e-3
    found.append(feature_identity(pair, 1))
    weight.copy_(healthy)
    video.image_mean = [0.1, 0.2, 0.3]
    found.append(feature_identity(pair, 1))
    video.image_mean = mean
    config = pair.model.config.vision_config
    for owner, name, value in (
        (config, "spatial_merge_size", 4),
        (config, "_attn_implementation", "eager"),
        (features, "FORMAT", "features/0"),
    ):
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, value)
            found.append(feature_identity(pair, 1))
    bfloat16 = replace(tiny_source, dtype="bfloat16").load("cpu", "host")
    found.append(feature_identity(bfloat16, 1))
    for library in ("torch", "torchvision", "transformers", "pillow", "av", "decord"):
        with monkeypatch.context() as patched:
            patched.setattr(versions, "version", other_version_of(library))
            found.append(feature_identity(pair, 1))
    assert len(set(found)) == len(found)
    assert feature_identity(pair, 1) == found[0]


def test_the_identity_does_not_change_with_the_language_model(tiny_pair_live):
    before = feature_identity(tiny_pair_live, 1)
    with tiny_pair_live.merged(full(9, 0.5)):
        assert feature_identity(tiny_pair_live, 1) == before


def test_the_key_tells_what_is_shown_apart():
    plan, video = FramePlan("uniform", 4, 1.0), Media(Path("a.mp4"), "v")
    other = (
        replace(video, digest="w"),
        replace(video, path=Path("a.gif")),
        replace(video, member="a.png"),
        *(replace(video, **{name: 2.0}) for name in ("start", "end", "fps")),
    )
    found = [
        feature_key(*given)
        for given in (
            ("a", (video,), plan, "auto"),
            ("b", (video,), plan, "auto"),
            ("a", (video,), replace(plan, count=5), "auto"),
            ("a", (video,), plan, "pyav"),
            *(("a", (one,), plan, "auto") for one in other),
            *(("a", media, plan, "auto") for media in permutations((video, other[0]))),
        )
    ]
    assert len(set(found)) == len(found)
    assert all(len(key) == 24 for key in found)
    elsewhere = replace(video, path=Path("elsewhere") / "b.mp4")
    assert feature_key("a", (elsewhere,), plan, "auto") == found[0]
