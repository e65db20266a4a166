"""What every benchmark promises, on a made-up copy in its official layout and on real annotations."""

import importlib
import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from merit_opt.cli import conf_dir
from merit_opt.data.benchmarks import BENCHMARKS
from merit_opt.data.benchmarks.benchmark import LeftOut
from merit_opt.data.copy import ABSENT, DatasetCopy
from merit_opt.data.prompts import COMMON, said
from merit_opt.data.sample import Number, Sample

VARIANTS = [(name, variant) for name, b in BENCHMARKS.items() for variant in b.variants]


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


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_a_copy_is_read_as_its_authors_mean_it(copy, name, variant):
    found = list(BENCHMARKS[name].read(copy(name), variant))
    samples = [one for one in found if isinstance(one, Sample)]
    left_out = {one.id: one.reason for one in found if isinstance(one, LeftOut)}
    expected = row(name).left_out.get(variant, {})
    assert tuple(s.id for s in samples) == row(name).samples[variant]
    assert left_out.keys() == expected.keys()
    assert all(expected[i] in reason for i, reason in left_out.items())


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_samples_are_whole(copy, name, variant):
    benchmark = BENCHMARKS[name]
    samples = [s for s in benchmark.read(copy(name), variant) if isinstance(s, Sample)]
    assert len({s.id for s in samples}) == len(samples) > 0
    for sample in samples:
        assert sample.media
        assert sample.group_id
        assert sample.question.strip()
        assert sample.question == sample.question.strip()
        assert not [o for o in sample.options if not o.strip() or o != o.strip()]
        assert isinstance(sample.answer, int | Number)
        assert sample.category(benchmark.role_field) is not None
        assert not [m for m in sample.media if m.digest.startswith(ABSENT)]
        for prompt in {**COMMON, **benchmark.prompts}.values():
            assert sample.question in said(prompt, sample, sample.subtitles)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
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


@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_option_names_the_benchmark_and_its_roles(name):
    benchmark, given = BENCHMARKS[name], option(name)
    assert given["benchmark"] == name
    assert given["variant"] in benchmark.variants
    assert set(benchmark.published) <= set(benchmark.variants) == set(benchmark.aggregates)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_roles_are_of_values_that_the_benchmark_has(copy, name, variant):
    """A value that the small copy does not hold may be known from real annotations."""
    roles = [value for values in option(name)["roles"].values() for value in values]
    assert len(set(roles)) == len(roles)


@pytest.mark.parametrize(("name", "variant"), [(n, v) for n, v in VARIANTS if v in row(n).real])
def test_real_annotations_have_the_published_counts(name, variant, tmp_path):
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
    assert len(found) == count
