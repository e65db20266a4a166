"""A small, fixed study with everything that a report can show, made by hand."""

from dataclasses import replace
from typing import Any

import numpy as np

from merit_opt.recipe.constructors import attention, base, uniform
from merit_opt.recipe.recipe import Recipe
from merit_opt.reporting.facts import (
    Answers,
    Attribution,
    Evaluated,
    Flip,
    Flips,
    Frame,
    LayerValue,
    Row,
    StudyFacts,
)
from merit_opt.tracking.record import StudyRecord, ToldStudy, TrialRecord

LAYERS, ANSWER = 6, (1, 4)
VIDEOS = 12
UNIFORM, DRAWN = "55aa55aa55aa", ("d1d1d1d1d1d1", "d2d2d2d2d2d2")


def gains(recipe: Recipe) -> tuple[float, float]:
    """TR and TP in steps of a tenth, best where exactly the answer is merged."""
    merged = recipe.coefficients()
    right = sum(merged.get(i, 0.0) for i in ANSWER)
    wrong = sum(c for i, c in merged.items() if i not in ANSWER)
    return round(0.5 + 0.2 * right - 0.02 * wrong, 6), round(0.9 - 0.1 * wrong, 6)


def trial(number: int, recipe: Recipe, **changes: Any) -> TrialRecord:
    tr, tp = gains(recipe)
    value = round(tr - 0.5 - 2.0 * max(0.0, 0.9 - tp), 6)
    first = min(recipe.merged_layers, default=LAYERS)
    cost = {
        "questions": 20.0,
        "questions_saved": 0.0,
        "layers_skipped": first / LAYERS / 2,
        "flops": 1e9 * (1 - first / LAYERS / 2),
    }
    given: dict[str, Any] = {
        "state": "COMPLETE",
        "role": "trial",
        "name": "",
        "value": value,
        "metrics": {"TR": tr, "TP": tp, "objective": value},
        "seconds": {"evaluate": 0.5 + number / 100, "total": 0.6 + number / 100},
        "cost": cost,
        "values": (value,),
        **changes,
    }
    return TrialRecord(number=number, recipe=recipe, **given)


def control(number: int, name: str, recipe: Recipe) -> TrialRecord:
    return trial(number, recipe, role="control", name=name)


def trials() -> tuple[TrialRecord, ...]:
    """Three controls, 22 proposals, and one each that was pruned, failed and known."""
    told = [
        control(0, "base", base(LAYERS)),
        control(1, "uniform:0.5", uniform(LAYERS, 0.5)),
        control(2, "random-layers:abc/1", attention(LAYERS, {0: 1.0, 2: 1.0})),
    ]
    sets = [{i: 1.0} for i in range(LAYERS)]
    sets += [{i: 1.0, j: 0.5} for i in range(LAYERS) for j in range(i) if (i + j) % 4 != 1]
    sets += [{1: 1.0, 4: 1.0}, {1: 1.0, 4: 0.75}, {0: 1.0, 1: 1.0, 4: 1.0}, {1: 0.5, 3: 0.25}]
    told += [trial(3 + i, attention(LAYERS, chosen)) for i, chosen in enumerate(sets)]
    pruned = {"questions": 5.0, "questions_saved": 15.0, "flops": 2.5e8, "layers_skipped": 0.0}
    told.append(
        trial(
            len(told),
            attention(LAYERS, {3: 1.0, 5: 1.0}),
            state="PRUNED",
            value=None,
            values=(),
            metrics={"questions": 5.0, "bound": 0.1},
            cost=pruned,
        )
    )
    told.append(
        trial(
            len(told),
            attention(LAYERS, {2: 1.0}),
            state="FAIL",
            value=None,
            values=(),
            metrics={},
            cost={},
            why="out of memory",
        )
    )
    told.append(trial(len(told), attention(LAYERS, {1: 1.0}), cached=True, cost={}))
    return tuple(told)


def study(told: tuple[TrialRecord, ...] | None = None, name: str = "small") -> ToldStudy:
    told = trials() if told is None else told
    complete = [t for t in told if t.state == "COMPLETE" and "random" not in t.name]
    states = {s: sum(t.state == s for t in told) for s in ("COMPLETE", "PRUNED", "FAIL")}
    parts = {
        "pair": "0123456789ab",
        "objective": "PenalisedGain(score='probability', penalty=2.0)",
        "confirm samples": "ba9876543210",
        "engine": "torch 0",
        "seed": "3",
    }
    return ToldStudy(
        record=StudyRecord(name, "f00df00df00d", {}, "", uid=f"uid of {name}"),
        fingerprint=parts,
        states={**states, "RUNNING": 1},
        trials=told,
        best=max(complete, key=lambda t: (t.value or 0.0, -t.number), default=None),
        front=(),
        forked_from=None,
    )


def gap(value: float) -> dict[str, float]:
    return {"estimate": value, "low": value - 0.1, "high": value + 0.1}


def control_scores(name: str, digest: str) -> dict[str, Any]:
    scores = {"TR": 0.5, "TP": 0.7, "objective": -0.1}
    return {"name": name, "digest": digest, **scores, "gap": gap(0.25)}


def result(told: ToldStudy, tp_p: float = 0.5) -> dict[str, Any]:
    best = told.best
    assert best is not None
    layers = {str(i): c for i, c in best.recipe.coefficients().items()}
    return {
        "schema": 1,
        "study": told.record.name,
        "uid": told.record.uid,
        "seed": 3,
        "best": {"number": best.number, "digest": best.recipe.digest, "layers": layers},
        "front": None,
        "remarks": ["one proposal was stopped early"],
        "prior": {
            "source": "gradient",
            "bill": 2.0,
            "reasoning": [0.0, 0.9, 0.1, 0.0, 0.8, -0.1],
            "perception": [-0.2, 0.0, 0.0, -0.1, 0.05, 0.0],
        },
        "confirm": {
            "n": {"TR": 24, "TP": 12},
            "base": {"TR": 0.5, "TP": 0.75, "objective": 0.0, "gap": gap(0.25)},
            "best": {"TR": 0.75, "TP": 0.75, "objective": 0.25},
            "difference": {
                "TR": {
                    **gap(0.25),
                    "p": 0.0004,
                    "p_holm": 0.002,
                    "verdict": "significant",
                },
                "TP": {**gap(0.0), "p": tp_p, "verdict": "not significant"},
            },
            "top": [
                {
                    "number": best.number,
                    "search_objective": 0.4,
                    "objective": 0.25,
                    "difference": gap(0.25),
                    "p_holm": 0.002,
                    "verdict": "significant",
                }
            ],
            "controls": [
                {**control_scores("uniform:0.5", UNIFORM), "TR": 0.6, "objective": 0.0},
                *(control_scores(f"random-layers/{i}", d) for i, d in enumerate(DRAWN, 1)),
            ],
            "random_layers": gap(0.35),
            "failed": {"full:0.5": "out of memory"},
        },
    }


def answers() -> Answers:
    """Two TR questions and one TP question about each video; a quarter of the TR ones flip."""

    def row(video: int, kind: str, answer: str, value: float | None) -> Row:
        return {
            "sample": f"v{video:02d}-{kind}",
            "role": kind[:2],
            "group": f"v{video:02d}",
            "categories": {"kind": kind.lower()},
            "right": "A",
            "answer": answer,
            "value": value,
            "log_probability": None if value is None else -0.1 - (1.0 - value),
            "probabilities": [0.9, 0.1] if answer == "A" else [0.3, 0.7],
            "status": "ok" if value is not None else "left out",
            "media": "ok" if video else "truncated",
            "suite": "ba9876543210",
        }

    kinds = ("TR1", "TR2", "TP1")
    asked = [(video, kind) for video in range(VIDEOS) for kind in kinds]
    known = {(v, k): "A" if (v + kinds.index(k)) % 2 == 0 else "B" for v, k in asked}
    after = {p: "A" if p[1][:2] == "TR" and p[0] % 4 == 1 else a for p, a in known.items()}
    after[2, "TP1"] = "B"
    base = [row(*p, answer, float(answer == "A")) for p, answer in known.items()]
    some = [row(*p, a if p[0] % 2 else known[p], float(a == "A")) for p, a in after.items()]
    return Answers(
        base=base,
        merged=[
            row(*p, answer, None if p == (11, "TP1") else float(answer == "A"))
            for p, answer in after.items()
        ],
        controls={UNIFORM: some, DRAWN[0]: base, DRAWN[1]: some},
    )


def attribution() -> Attribution:
    def rows(method: str, variant: str, model: str, *tried: float) -> list[Row]:
        return [
            {
                "method": method,
                "variant": variant,
                "model": model,
                "layer": layer,
                "part": "attention",
                "head_group": None,
                "coefficient": coefficient,
                "role": role,
                "n": 24,
                "difference": (0.2 if layer in ANSWER and role == "TR" else 0.0) * coefficient,
                "low": -0.1,
                "high": 0.3,
                "p": 0.1,
                "unit": "accuracy",
            }
            for coefficient in tried
            for layer in range(LAYERS)
            for role in ("TR", "TP")
        ]

    scan = rows("scan", "alone", "base", 0.5, 1.0)
    masks = [rows("mask", variant, "merged", 1.0) for variant in ("zero", "mean")]
    return Attribution(layers=[*scan, *masks[0], *masks[1]], runs=runs())


def runs() -> Row:
    """As result.json of an attribution has them."""
    drops = {"TR": 0.3, "TP": 0.1}
    rivals = {
        "sets": 17,
        "failed": 3,
        "mean": {"TR": 0.1, "TP": 0.1},
        "p": {"TR": 0.05, "TR - TP": 0.1},
    }
    sets = {"variant": "zero", "model": "merged", "part": "attention", "unit": "accuracy"}
    sets |= {"selected": {**drops, "ratio": 3.0}, "random": rivals, "unselected": rivals}
    contribution = {"variant": "zero", "part": "attention", "role": "TR"}
    contribution |= {
        "base": {"mean_drop": 0.05, "layers": []},
        "merged": {"mean_drop": 0.1, "layers": [1, 4]},
        "difference": {**gap(0.05), "p": 0.5},
    }
    entry = {
        "provenance": {"suite": "toy", "split": "confirm"},
        "n": {"TR": 24, "TP": 12},
        "seconds": 61.5,
        "warnings": ["the search saw 1 of these media"],
        "summary": {"sets": [sets], "contributions": [contribution]},
    }
    return {"schema": 1, "methods": {"mask": entry, "frames": frames_run()}}


def frames_run() -> Row:
    """As result.json has a run of method=frames."""
    own, against = "occlusion_hidden", {**gap(0.15), "p": 0.01, "n": 8}
    none = {**gap(0.05), "p": 0.4, "n": 8}
    side = {"mean": 0.6, "n": 8, "chance": 0.45, "above_chance": against}
    mass = {"base": side, "merged": side, "shift": none}
    place = {"base": {"mean": 0.6, "n": 8}, "merged": {"mean": 0.5, "n": 8}, "shift": none}
    areas = {"area": 0.4, "random": 0.5, "difference": {**gap(-0.15), "p": 0.01, "n": 8}}
    points = [
        {
            "share": i / 2,
            "mean": 0.9 - 0.4 * i,
            "low": 0.8 - 0.4 * i,
            "high": 1.0 - 0.4 * i,
            "n": 8,
        }
        for i in range(3)
    ]
    of = {"method": own, "target": "chosen", "role": "all"}
    summary = {
        "samples": {"base": 8, "merged": 8},
        "evidence": [{**of, "share": mass, "pointing": mass}],
        "shape": [{**of, "entropy": place, "centre": place}],
        "agreement": [{"model": "base", "methods": [own, "gradient"], "correlation": against}],
        "curves": [{"model": "base", "method": own, "deletion": areas, "insertion": areas}],
        "points": [
            {"model": "base", "method": order, "deletion": points, "insertion": points[::-1]}
            for order in (own, "random")
        ],
        "redrawn": [{"method": own, "correlation": none}],
        "completeness": [{"model": "base", "error": 0.1, "gap": 0.8, "close": 0.75}],
    }
    where = {"suite": "toy", "split": "confirm"}
    return {"provenance": where, "n": {"TR": 5, "TP": 3}, "seconds": 9.0, "summary": summary}


def flip(number: int, question: str = "what came first?") -> Flip:
    ramp = np.linspace(0, 255, 24 * 32 * 3).reshape(24, 32, 3).astype(np.uint8)
    frames = tuple(
        Frame(
            i / 2,
            ramp[:, ::-1] if i % 2 else ramp,
            {"base": 0.1 * i, "merged": 0.3 - i / 4},
            i == 1,
        )
        for i in range(4)
    )
    return Flip(
        sample=f"v{number:02d}-TR1",
        role="TR",
        question=question,
        options=(("A", "the red one"), ("B", "the blue one")),
        right="A",
        answers={"base": "B", "merged": "A"},
        probabilities={"base": (0.3, 0.7), "merged": (0.9, 0.1)},
        frames=frames,
        method="occlusion_hidden",
    )


def evaluated() -> tuple[Evaluated, ...]:
    """The winner on a suite whose samples are gone, and a control with its samples."""
    best = study().best
    assert best is not None
    known = answers()
    return (
        Evaluated(evaluation(best.recipe.digest)),
        Evaluated(evaluation(UNIFORM), Answers(known.base, known.controls[UNIFORM])),
    )


def evaluation(recipe: str) -> Row:
    sides = {"TR": 0.5, "TP": 0.8, "all": 0.6}
    return {
        "recipe": recipe,
        "suite": {"name": "other", "digest": "abcabcabcabc"},
        "base": sides,
        "scores": {role: value + 0.1 for role, value in sides.items()},
        "difference": {role: {**gap(0.1), "p": 0.3, "n": 20} for role in sides},
        "searched_media": [{"name": "v.mp4"}],
    }


def facts(name: str = "small") -> StudyFacts:
    """Everything that a report can show."""
    told = study(name=name)
    return StudyFacts(
        study=told,
        result=result(told),
        answers=answers(),
        evaluations=evaluated(),
        attribution=attribution(),
        importances=[
            LayerValue(method, "attention", i, (1 + (i in ANSWER)) / 8)
            for method in ("PED-ANOVA", "fANOVA")
            for i in range(LAYERS)
        ],
        distances=[
            LayerValue("distance", part, i, 0.1 * i)
            for part in ("attention", "mlp")
            for i in range(LAYERS)
        ],
        flips=Flips((flip(1), flip(5))),
        settings={"suite": {"split_seed": 0, "search_share": 0.4}},
        commands={"search": "merit-opt search seed=3"},
        versions={"merit-opt": "0.0.0"},
    )


def bare(told: ToldStudy, **changes: Any) -> StudyFacts:
    """A study that left nothing but its storage."""
    return replace(StudyFacts(study=told, versions={"merit-opt": "0.0.0"}), **changes)
