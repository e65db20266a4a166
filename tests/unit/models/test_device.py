import pytest
import torch

from merit_opt.errors import UserError
from merit_opt.models.device import resolve_device


@pytest.fixture
def machine(monkeypatch):
    def with_cuda_devices(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return with_cuda_devices


@pytest.mark.parametrize(("count", "device"), [(0, "cpu"), (1, "cuda:0"), (4, "cuda:0")])
def test_auto_is_the_first_cuda_device_or_the_cpu(machine, count, device):
    machine(count)
    assert resolve_device("auto") == device


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1"])
def test_a_device_that_is_there_is_itself(machine, name):
    machine(2)
    assert resolve_device(name) == name


@pytest.mark.parametrize(("name", "count"), [("cuda", 0), ("cuda:0", 0), ("cuda:2", 2)])
def test_a_cuda_device_that_is_not_there_is_refused(machine, name, count):
    machine(count)
    with pytest.raises(UserError, match=f"device={name}: this machine has {count} CUDA devices"):
        resolve_device(name)


@pytest.mark.parametrize("name", ["", "gpu", "cuda:x", "meta", "mps"])
def test_any_other_name_is_refused(machine, name):
    machine(2)
    with pytest.raises(UserError, match=f"device is auto, cpu or cuda:N; got '{name}'"):
        resolve_device(name)
