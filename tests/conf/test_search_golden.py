"""The composed default search, whole: a change of any default is seen in review."""

from pathlib import Path

from omegaconf import OmegaConf


def test_the_default_search_equals_the_golden_file(composed, repo: Path):
    golden = (repo / "tests" / "golden" / "search.yaml").read_text()
    assert OmegaConf.to_yaml(composed("search"), resolve=True) == golden


def test_hydra_neither_moves_nor_litters(composed):
    for verb in ("search", "evaluate", "export", "check", "plant"):
        hydra = composed(verb, hydra=True).hydra
        assert (hydra.job.chdir, hydra.output_subdir, hydra.run.dir) == (False, None, ".")
