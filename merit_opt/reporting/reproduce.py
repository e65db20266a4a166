"""How to make it again."""

from collections.abc import Iterator

from merit_opt.reporting.answers import exclusions
from merit_opt.reporting.blocks import Block, Code, Facts, Section, TableBlock, Text
from merit_opt.reporting.facts import StudyFacts
from merit_opt.reporting.summary import confirmed
from merit_opt.reporting.tables import Column, Table

YEAR = 2026
PAPERS = """\
@article{fu2026reasoning,
  title   = {Reasoning Resides in Layers: Restoring Temporal Reasoning in Video-Language Models with Layer-Selective Merging},
  author  = {Fu, Zihang and Wang, Haonan and Kang, Jian and Kawaguchi, Kenji and Wu, Jiaying},
  journal = {arXiv preprint arXiv:2604.11399},
  year    = {2026},
}

@inproceedings{chen2025bring,
  title     = {Bring Reason to Vision: Understanding Perception and Reasoning through Model Merging},
  author    = {Chen, Shiqi and Zhang, Jinghan and Zhu, Tongyao and Liu, Wei and Gao, Siyang and Xiong, Miao and Li, Manling and He, Junxian},
  booktitle = {Proceedings of the 42nd International Conference on Machine Learning},
  volume    = {267},
  pages     = {9803--9817},
  year      = {2025},
  note      = {arXiv:2505.05464},
}"""


def reproduce(facts: StudyFacts) -> Section:
    """The page's last section."""
    return Section("reproduce", "How to reproduce it", tuple(_blocks(facts)))


def _blocks(facts: StudyFacts) -> Iterator[Block]:
    if command := facts.commands.get("search"):
        yield Code(command, "Command")
    else:
        why = "names what this version lacks" if facts.settings else "is missing"
        yield Text(f"The study's config.yaml {why}, so its command is not known.", "notice")
    if facts.measured:
        yield Code(
            "\n".join(facts.measured), "Commands of attribution and of evaluations shown here"
        )
    if facts.measured and facts.evaluations:
        yield Text(
            "Of an evaluation's suite the name and the digest are kept alone: what else was given, such "
            "as suite.seed, is to be added."
        )
    yield Facts(tuple(_identity(facts)))
    yield TableBlock(_counts(facts))
    if facts.study.fingerprint:
        rows = tuple(sorted(facts.study.fingerprint.items()))
        columns = (Column("what", "what"), Column("identity", "identity"))
        title = f"Fingerprint {facts.study.record.fingerprint}: what did not change while it ran"
        yield TableBlock(Table("fingerprint", title, columns, rows), is_long=True)
    yield Code(_bibtex(facts), "BibTeX")


def _identity(facts: StudyFacts) -> Iterator[tuple[str, str]]:
    study = facts.study
    yield "study", facts.name
    yield "fingerprint", study.record.fingerprint
    if study.forked_from:
        yield "forked from", study.forked_from
    yield "seed", str((facts.result or {}).get("seed", study.fingerprint.get("seed", "unknown")))
    suite = facts.settings.get("suite", {})
    if "split_seed" in suite:
        yield "split", f"seed {suite['split_seed']}, search share {suite.get('search_share')}"
    if study.best is not None:
        yield "recipe", f"{study.best.recipe.digest} (trial {study.best.number})"
    yield from facts.versions.items()
    if engine := study.fingerprint.get("engine"):
        yield "engine and libraries of the search", engine
    if facts.libraries:
        yield "libraries that wrote this page", facts.libraries


def _counts(facts: StudyFacts) -> Table:
    """Trials by state, questions by role, and what was left out of them."""
    rows = [(f"trials {state.lower()}", n) for state, n in sorted(facts.study.states.items()) if n]
    told = len(facts.study.trials)
    if silent := sum(facts.study.states.values()) - told:
        rows.append(("of them begun but never told", silent))
    if (asked := _asked(facts)) is not None:
        rows.append(("questions of the search side, a trial", asked))
    found = confirmed(facts)
    if found is not None:
        rows += [(f"{role} questions of confirm, compared", n) for role, n in found["n"].items()]
    if facts.answers is not None:
        rows.append(("questions of confirm", len(facts.answers.merged)))
        left_out = exclusions(facts.answers) or {"excluded": 0}
        rows += [(f"of them {why}", n) for why, n in left_out.items()]
    columns = (Column("what", "what"), Column("n", "n", "count"))
    return Table("counts", "Counts and exclusions", columns, tuple(rows))


def _asked(facts: StudyFacts) -> int | None:
    counts = [
        r.cost.get("questions", 0.0) + r.cost.get("questions_saved", 0.0)
        for r in facts.study.trials
        if r.cost
    ]
    return int(max(counts)) if counts else None


def _bibtex(facts: StudyFacts) -> str:
    version = facts.versions.get("merit-opt", "")
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in facts.name)
    words = facts.name.translate({ord(c): f"\\{c}" for c in "{}$&#%_"})
    return (
        f"@software{{merit-opt:{name},\n"
        "  title   = {merit\\_opt: layer-wise merging of video-language models with their text "
        "backbones},\n"
        "  author  = {{The merit\\_opt developers}},\n"
        f"  version = {{{version}}},\n"
        f"  year    = {{{YEAR}}},\n"
        f"  note    = {{Study {words}, fingerprint {facts.study.record.fingerprint}}},\n"
        "}\n\n" + PAPERS
    )
