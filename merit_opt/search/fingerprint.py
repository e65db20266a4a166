"""What must not change while a study is resumed."""

import hashlib
import json
from collections.abc import Mapping

from optuna.study import Study

from merit_opt.errors import UserError

ATTR = "fingerprint"


def digest(parts: Mapping[str, str]) -> str:
    """12 hex digits over the named parts, in any order."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()[:12]


def require_same(study: Study, parts: Mapping[str, str]) -> None:
    """Keep the fingerprint with a new study; refuse to join one that has another.

    Raises:
        UserError: The study was started with other parts; each difference is listed.
    """
    known: dict[str, str] | None = study.user_attrs.get(ATTR)
    if known is None:
        study.set_user_attr(ATTR, dict(parts))
        return
    differences = [
        f"  {name}: the study has {known.get(name)}, this run has {parts.get(name)}"
        for name in sorted(known.keys() | parts.keys())
        if known.get(name) != parts.get(name)
    ]
    if differences:
        raise UserError(
            f"study {study.study_name} was started with other settings, so its trials do not "
            "compare with this run's:\n"
            + "\n".join(differences)
            + "\nGive the old settings (config.yaml in the study's folder) to resume it, another "
            "study.name= to start anew, or study.fork=NEW to start a study NEW that first tries "
            f"what {study.study_name} found."
        )
