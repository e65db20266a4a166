"""Write tests/golden/rules.safetensors: what other implementations make of the same tensors.

mergekit 0.1.5 (linear, slerp, task_arithmetic, ties, dare_linear, dare_ties) and PEFT 0.21.2 (ties,
the function that *Bring Reason to Vision* copied) with torch 2.14.1. Run it where they are
installed, apart from the project:

    python -m venv reference && reference/bin/pip install mergekit==0.1.5 peft==0.21.2
    reference/bin/python tests/golden/make_rules.py

Inputs are keyed CASE/vlm, CASE/backbone and CASE/base, results CASE/RULE:NUMBERS with the numbers
in the order of the rule's fields. Both compute in float32 and cast the result to the case's dtype:
mergekit's `dtype: float32` with `out_dtype`. The random masks of DARE keep everything here.
"""

from pathlib import Path

import torch
from mergekit.merge_methods.base import PerInputValues, TensorGroup
from mergekit.merge_methods.registry import get
from peft.utils.merge_utils import ties as peft_ties
from safetensors.torch import save_file
from torch import Tensor

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
SHAPES = [(7,), (9, 12), (2, 3, 5)]
COEFFICIENTS = (1 / 9, 0.5, 0.85)
SETTINGS = ((1.0, 0.5), (1.8, 0.2))  # scale and density
LEARNED = 0.3  # the size of a task vector's entries; the base's are 1


def inputs(dtype: torch.dtype, shape: tuple[int, ...], generator: torch.Generator):
    base = torch.randn(shape, generator=generator)
    vlm, backbone = (
        base + LEARNED * torch.randn(shape, generator=generator) for _ in ("vlm", "backbone")
    )
    return {"vlm": vlm.to(dtype), "backbone": backbone.to(dtype), "base": base.to(dtype)}


def is_clear(case: dict[str, Tensor]) -> bool:
    """Whether trimming has one answer: the last entry kept is larger than the first dropped."""
    vectors = [case[name].float() - case["base"].float() for name in ("vlm", "backbone")]
    sizes = [vector.abs().flatten().sort(descending=True).values for vector in vectors]
    counts = [int(density * len(sizes[0])) for _, density in SETTINGS]
    return all(size[count - 1] > size[count] for size in sizes for count in counts)


def mergekit(method: str, case: dict[str, Tensor], coefficient: float, **parameters) -> Tensor:
    names = ["vlm", "backbone"] if method in ("linear", "slerp") else ["vlm", "backbone", "base"]
    base_index = {"linear": None, "slerp": 0}.get(method, 2)
    group = TensorGroup.from_tensors([case[n] for n in names], ids=names, base_index=base_index)
    per_model = {"weight": {"vlm": 1.0 - coefficient, "backbone": coefficient}}
    if "density" in parameters:
        density = parameters.pop("density")
        per_model["density"] = {"vlm": density, "backbone": density}
    if method == "slerp":
        per_model, parameters = {}, {"t": coefficient}
    parameters |= {name: PerInputValues(list(v.items())) for name, v in per_model.items()}
    dtype = case["vlm"].dtype
    [merged] = get(method)([group], parameters=parameters, dtype=torch.float32, out_dtype=dtype)
    return merged


def peft(case: dict[str, Tensor], weights: tuple[float, float], density: float) -> Tensor:
    base = case["base"].float()
    vectors = [case[name].float() - base for name in ("vlm", "backbone")]
    merged = base + peft_ties(vectors, torch.tensor(weights), density)
    return merged.to(case["vlm"].dtype)


def results(case: dict[str, Tensor]) -> dict[str, Tensor]:
    made = {}
    for c in COEFFICIENTS:
        made[f"lerp:{c!r}"] = mergekit("linear", case, c)
        made[f"slerp:{c!r}"] = mergekit("slerp", case, c)
        for scale, density in SETTINGS:
            whole = {"lambda": scale}
            made[f"task_arithmetic:{c!r}:{scale}"] = mergekit("task_arithmetic", case, c, **whole)
            made[f"dare_linear:{c!r}:{scale}:1:0"] = mergekit(
                "dare_linear", case, c, density=1.0, **whole
            )
            made[f"dare_ties:{c!r}:{scale}:1:0"] = mergekit(
                "dare_ties", case, c, density=1.0, normalize=True, **whole
            )
            made[f"ties:{c!r}:{scale}:{density}"] = mergekit(
                "ties", case, c, density=density, normalize=True, **whole
            )
            weights = (scale * (1.0 - c), scale * c)
            made[f"ties_by_count:{c!r}:{scale}:{density}"] = peft(case, weights, density)
    return made


def main() -> None:
    generator = torch.Generator().manual_seed(2025)
    written = {}
    for dtype_name, dtype in DTYPES.items():
        for shape in SHAPES:
            case = inputs(dtype, shape, generator)
            while not is_clear(case):
                case = inputs(dtype, shape, generator)
            name = f"{dtype_name}-{'x'.join(map(str, shape))}"
            written |= {f"{name}/{key}": value for key, value in (case | results(case)).items()}
    save_file(
        {name: tensor.contiguous() for name, tensor in written.items()},
        Path(__file__).with_name("rules.safetensors"),
    )


if __name__ == "__main__":
    main()
