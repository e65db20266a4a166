import math

import pytest
import torch
from safetensors.torch import save_file

from merit_opt.errors import UserError
from merit_opt.models.finite import require_finite
from merit_opt.models.stored import read_shard
from tests.unit.models.small import nothing


def stored(folder, **tensors):
    save_file(tensors, folder / "model.safetensors")
    return read_shard(folder / "model.safetensors").tensors


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_tensors_that_are_not_finite_are_named_and_no_others(tmp_path, dtype, value):
    sound, broken = torch.ones(2, 3, dtype=dtype), torch.ones(2, 3, dtype=dtype)
    broken[1, 2] = value
    tensors = stored(tmp_path, a=sound, b=broken, c=broken.clone())
    with pytest.raises(UserError, match=rf"^b, c in {tmp_path}/model\.safetensors: NaN or inf"):
        require_finite(tensors, nothing)


def test_of_many_three_are_named_and_the_rest_counted(tmp_path):
    tensors = stored(tmp_path, **{n: torch.tensor([math.nan]) for n in "abcde"})
    with pytest.raises(UserError, match=r"^a, b, c \(and 2 more\) in "):
        require_finite(tensors, nothing)


def test_whole_numbers_and_codes_are_not_read(tmp_path):
    codes = torch.full((4,), math.nan).to(torch.float8_e4m3fn)
    seen = []
    tensors = stored(tmp_path, ids=torch.arange(3), codes=codes, real=torch.ones(2))
    require_finite(tensors, lambda *steps: seen.append(steps))
    assert seen == [(1, 1)]
