"""What CMA-ES knew, as Optuna keeps it in a study's storage: a pickle, read without trusting it.

Whoever can write to a storage could put a pickle there that runs code in every worker.
"""

import io
import pickle  # nosec B403  # read by `_Reader` alone
from typing import Any

from merit_opt.errors import UserError

OPTIMISERS = {"cmaes._cma": {"CMA"}, "cmaes._cmawm": {"CMAwM"}, "cmaes._sepcma": {"SepCMA"}}
ARRAYS = {
    "numpy": {"dtype", "ndarray"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
}
NAMED = OPTIMISERS | ARRAYS


def restored(text: str) -> Any:
    """The optimiser that was written as hex digits.

    Raises:
        UserError: It is none, or names anything else than optimisers and arrays.
    """
    try:
        found = _Reader(io.BytesIO(bytes.fromhex(text))).load()
    except UserError:
        raise
    except Exception as error:  # what unpickling raises on damage is anyone's guess
        raise _refused(f"it cannot be read ({error})") from error
    if type(found).__module__ not in OPTIMISERS:
        raise _refused(f"it is of type {type(found).__name__}")
    return found


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if global_name not in NAMED.get(module_name, ()):
            raise _refused(f"it names {module_name}.{global_name}")
        return super().find_class(module_name, global_name)


def _refused(why: str) -> UserError:
    return UserError(
        f"the storage holds no state of CMA-ES that this version writes: {why}; see who else writes "
        "to the storage, or choose another sampler"
    )
