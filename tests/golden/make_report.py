"""Write tests/golden/report.json: all that the report of a small, fixed study says and draws.

    python -m tests.golden.make_report

Read the difference before you keep it.
"""

import json
from pathlib import Path

from merit_opt.reporting.blocks import data
from merit_opt.reporting.report import compose
from tests.reports import facts

if __name__ == "__main__":
    held = data(compose(facts(), (facts("other"),)))
    text = json.dumps(held, indent=1, ensure_ascii=False)
    (Path(__file__).parent / "report.json").write_text(text + "\n")
