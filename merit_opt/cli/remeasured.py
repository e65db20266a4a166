"""Commands of the attribution and the evaluations that a study's page shows."""

import shlex
from collections.abc import Iterator

from merit_opt.cli.retyped import changed, command
from merit_opt.errors import UserError
from merit_opt.reporting.facts import Row, StudyFacts


def measured_commands(facts: StudyFacts, where: str) -> Iterator[str]:
    """What to type for each, as far as their result.json keeps it; none without a config.yaml.

    An evaluation keeps of its suite the name and the digest alone.

    Args:
        facts: Of the study.
        where: Overrides that every command has, with a space before each.
    """
    if not facts.settings:
        return
    try:
        pair, suite = command(facts.settings, "pair"), command(facts.settings, "suite")
    except UserError:
        return
    for name, run in facts.attribution.methods.items():
        yield (
            f"merit-opt attribute{pair}{_suite(facts, run, suite)}{where} recipe=study:{facts.name} "
            f"method={name}{_settings(name, run)}"
        )
    trials = {t.recipe.digest: t.number for t in reversed(facts.study.trials)}
    winner = None if facts.study.best is None else facts.study.best.recipe.digest
    for one in facts.evaluations:
        digest, of = one.result["recipe"], one.result["suite"]
        number = "" if digest == winner else f"/{trials[digest]}" if digest in trials else None
        if number is not None:
            yield (
                f"merit-opt evaluate{pair}{where} recipe=study:{facts.name}{number} "
                f"suite={shlex.quote(of['name'])}{_seed(one.result)}"
            )


def _suite(facts: StudyFacts, run: Row, own: str) -> str:
    """The study's suite, or the other one that the method was run on."""
    where = run.get("provenance", {})
    searched = facts.study.fingerprint.get("search samples")
    if searched is None or where.get("search_samples") in (None, searched):
        return own
    return f" suite={shlex.quote(str(where.get('suite')))}"


def _settings(name: str, run: Row) -> str:
    split = run.get("provenance", {}).get("split", "confirm")
    words = changed("method", name, run.get("settings", {}))
    told = "".join(f" {shlex.quote(word)}" for word in words)
    return told + ("" if split == "confirm" else f" split={split}") + _seed(run)


def _seed(run: Row) -> str:
    return f" seed={run['seed']}" if run.get("seed") else ""
