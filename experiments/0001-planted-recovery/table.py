"""Print the table of README.md from the result.json of every study below a folder.

python experiments/0001-planted-recovery/table.py outputs/studies
"""

import json
import sys
from pathlib import Path
from typing import Any

PLANTED = {"tiny": ("3", "5"), "tiny_3_6": ("3", "6")}


def main(folder: Path) -> None:
    """One row per study, then how many of them meet each aim."""
    rows = [row(path) for path in sorted(folder.glob("*/result.json"))]
    columns = list(rows[0])
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for found in rows:
        print("| " + " | ".join(str(found[column]) for column in columns) + " |")
    aims = [column for column in columns if column.endswith("?")]
    print("\n" + "; ".join(f"{a} {sum(r[a] == 'yes' for r in rows)} of {len(rows)}" for a in aims))


def row(path: Path) -> dict[str, Any]:
    """What one study found, and whether it meets the aims."""
    result = json.loads(path.read_text())
    confirm, layers = result["confirm"], result["best"]["layers"]
    planted = PLANTED[result["study"].split("-")[0]]
    gain, loss = confirm["difference"]["TR"], confirm["difference"]["TP"]
    objective = confirm["best"]["objective"]
    uniform = max(c["objective"] for c in confirm["controls"] if is_uniform(c["name"]))
    random = confirm["random_layers"]
    return {
        "study": result["study"],
        "base TR/TP": f"{confirm['base']['TR']:.3f}/{confirm['base']['TP']:.3f}",
        "best TR/TP": f"{confirm['best']['TR']:.3f}/{confirm['best']['TP']:.3f}",
        "TR difference": interval(gain),
        "TP difference": interval(loss),
        "objective": f"{objective:+.3f}",
        "best uniform": f"{uniform:+.3f}",
        "above random layers by": interval(random) if random else "none drawn",
        "coefficients": ", ".join(f"{layer}: {c:.2f}" for layer, c in layers.items()),
        "TR +20?": yes(gain["estimate"] >= 0.20 and gain["low"] > 0),
        "TP -2 at most?": yes(loss["estimate"] >= -0.02),
        "above uniform?": yes(objective > uniform),
        "above random?": yes(random and random["estimate"] > 0),
        "planted at .5?": yes(all(layers.get(layer, 0.0) >= 0.5 for layer in planted)),
    }


def is_uniform(name: str) -> bool:
    """Whether a control is a uniform merge, of attention or of everything."""
    return name.startswith(("uniform:", "full:"))


def interval(found: dict[str, float]) -> str:
    """Estimate and 95 % interval, as a cell."""
    return f"{found['estimate']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]"


def yes(holds: object) -> str:
    """As a cell."""
    return "yes" if holds else "no"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "studies")
