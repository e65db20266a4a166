"""What every benchmark promises, on a made-up copy in its official layout and on real annotations."""

import importlib
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.benchmarks.benchmark import LeftOut
from merit_opt.data.benchmarks.suite import benchmark_suite
from merit_opt.data.dataset_copy import ABSENT, DatasetCopy
from merit_opt.data.prompts import COMMON, said
from merit_opt.data.sample import Number, Sample

VARIANTS = [(name, variant) for name, b in BENCHMARKS.items() for variant in b.variants]
OURS = ("defaults", "_target_", "search_share", "split_seed")
MEDIA = (".mp4", ".webm", ".mkv", ".png", ".jpg", ".srt")

variants = pytest.mark.parametrize(("name", "variant"), VARIANTS)


def row(name):
    return importlib.import_module(f"tests.contracts.benchmarks.{name}").ROW


@pytest.fixture
def copy(tmp_path):
    def write(name):
        root = tmp_path / "copy"
        if not root.exists():
            root.mkdir()
            row(name).write(root)
        return DatasetCopy(root, tmp_path / "cache")

    return write


def option(name):
    return OmegaConf.to_container(OmegaConf.load(conf_dir() / "suite" / f"{name}.yaml"))


def suite_of(name, variant, copy, scorer="generate"):
    settings = option("_asking") | option("_benchmark") | option(name)
    settings |= {"variant": variant, "root": copy.root, "cache": copy.cache, "scorer": scorer}
    kept = {key: value for key, value in settings.items() if key not in OURS}
    return benchmark_suite(**kept, progress=None)


def samples_of(name, variant, copy):
    return [s for s in BENCHMARKS[name].read(copy, variant) if isinstance(s, Sample)]


@variants
def test_a_copy_is_read_as_its_authors_mean_it(copy, name, variant):
    found = list(BENCHMARKS[name].read(copy(name), variant))
    samples = [one for one in found if isinstance(one, Sample)]
    left_out = {one.id: one.reason for one in found if isinstance(one, LeftOut)}
    expected = row(name).left_out.get(variant, {})
    assert tuple(s.id for s in samples) == row(name).samples[variant]
    assert left_out.keys() == expected.keys()
    assert all(expected[i] in reason for i, reason in left_out.items())


@variants
def test_samples_are_whole(copy, name, variant):
    benchmark = BENCHMARKS[name]
    samples = samples_of(name, variant, copy(name))
    assert len({s.id for s in samples}) == len(samples) > 0
    for sample in samples:
        assert sample.media
        assert sample.group_id
        assert sample.question.strip()
        assert not [o for o in sample.options if not o.strip()]
        assert isinstance(sample.answer, int | Number)
        assert sample.category(benchmark.role_field) is not None
        assert not [m for m in sample.media if m.digest.startswith(ABSENT)]
        for prompt in {**COMMON, **benchmark.prompts_of(variant)}.values():
            assert sample.question in said(prompt, sample, sample.subtitles)


@variants
def test_samples_of_one_medium_are_of_one_group(copy, name, variant):
    of_medium = {}
    for sample in samples_of(name, variant, copy(name)):
        for media in sample.media:
            assert of_medium.setdefault(media.path, sample.group_id) == sample.group_id


@variants
def test_a_copy_in_another_place_is_the_same_samples(copy, name, variant, tmp_path):
    benchmark = BENCHMARKS[name]
    here = list(benchmark.read(copy(name), variant))
    moved = (tmp_path / "copy").rename(tmp_path / "elsewhere")
    there = list(benchmark.read(DatasetCopy(moved, tmp_path / "cache"), variant))

    def identity(one):
        if isinstance(one, LeftOut):
            return one
        return one.id, [m.digest for m in one.media], one.options, one.answer, one.group_id

    assert [identity(one) for one in here] == [identity(one) for one in there]


@variants
def test_a_copy_with_its_videos_still_packed_is_the_same_samples(copy, name, variant):
    """Folders of frames are unpacked: a decoder of them reads a folder."""
    before = samples_of(name, variant, copy(name))
    root = copy(name).root
    with zipfile.ZipFile(root / "packed.zip", "w") as file:
        for path in sorted(p for p in root.rglob("*") if p.suffix in MEDIA):
            if not any(m.path == path.parent for s in before for m in s.media):
                file.write(path, path.relative_to(root))
                path.unlink()
    after = samples_of(name, variant, DatasetCopy(root, copy(name).cache))
    assert [(s.id, s.subtitles, s.answer, [m.digest for m in s.media]) for s in after] == [
        (s.id, s.subtitles, s.answer, [m.digest for m in s.media]) for s in before
    ]
    assert not [m for s in after for m in s.media if m.digest.startswith(ABSENT)]


@variants
def test_what_is_missing_is_a_sample_that_cannot_be_read_and_no_fewer_samples(copy, name, variant):
    before = samples_of(name, variant, copy(name))
    root = copy(name).root
    for path in [p for p in root.rglob("*") if p.suffix in MEDIA]:
        path.unlink()
    after = samples_of(name, variant, DatasetCopy(root, copy(name).cache))
    assert [s.id for s in after] == [s.id for s in before]


@variants
def test_an_option_makes_a_suite_of_its_copy(copy, name, variant):
    suite = suite_of(name, variant, copy(name))
    assert tuple(s.id for s in suite.samples) == row(name).samples[variant]
    assert suite.left_out.keys() == row(name).left_out.get(variant, {}).keys()
    assert suite.digest == suite_of(name, variant, copy(name)).digest
    assert suite.digest != suite_of(name, variant, copy(name), "option_loglik").digest
    if variant == option(name)["variant"] and option(name)["roles"]:
        assert {suite.role(s) for s in suite.samples} - {"other"}


@variants
def test_what_is_reported_is_of_fields_that_samples_have(copy, name, variant):
    samples = samples_of(name, variant, copy(name))
    aggregates = BENCHMARKS[name].aggregates[variant]
    assert aggregates
    for aggregate in aggregates:
        assert (aggregate.how == "mean") == (not aggregate.by)
        counted = [
            s for s in samples if dict(s.categories).items() >= dict(aggregate.where).items()
        ]
        assert counted
        assert not aggregate.by or all(s.category(aggregate.by) is not None for s in counted)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_option_names_the_benchmark_and_its_roles(name):
    benchmark, given = BENCHMARKS[name], option(name)
    assert given["benchmark"] == name
    assert given["variant"] in benchmark.variants
    assert set(benchmark.published) <= set(benchmark.variants) == set(benchmark.aggregates)
    roles = [value for values in given["roles"].values() for value in values]
    assert len(set(roles)) == len(roles)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_prompts_are_named_after_the_benchmark(name):
    for key, prompt in BENCHMARKS[name].prompts.items():
        assert key.split("/")[-1] not in COMMON
        assert prompt.name.startswith(f"{name}/")


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n, v in VARIANTS if v in row(n).real])
def test_real_annotations_have_the_published_counts_and_roles(name, variant, tmp_path):
    folder, count = row(name).real[variant]
    shared = Path(os.environ.get("MERIT_OPT_SHARED", "../shared")) / "bench_data" / folder
    if not shared.exists():
        pytest.skip(f"{shared} is not here: the real annotations of {name}")
    root = shared
    if (lay := row(name).lay) is not None:
        root = tmp_path / "laid"
        root.mkdir()
        lay(shared, root)
    found = list(BENCHMARKS[name].read(DatasetCopy(root, tmp_path / "cache"), variant))
    assert len({one.id for one in found}) == len(found) == count
    if count == BENCHMARKS[name].published.get(variant):
        field = BENCHMARKS[name].role_field
        values = {one.category(field) for one in found if isinstance(one, Sample)}
        assert {v for of_role in option(name)["roles"].values() for v in of_role} <= values
    for field, expected in row(name).counts.get(variant, {}).items():
        values = (one.category(field) for one in found if isinstance(one, Sample))
        assert Counter(values) == expected
