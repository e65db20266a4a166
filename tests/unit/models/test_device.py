import pytest
import torch

from merit_opt.errors import UserError
from merit_opt.models import device as device_module
from merit_opt.models.device import device_type, resolve_device


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
    with pytest.raises(UserError, match=f"device is auto, cpu, cuda:N or balanced; got '{name}'"):
        resolve_device(name)


@pytest.fixture
def accelerate(monkeypatch):
    def found(is_there):
        monkeypatch.setattr(device_module, "is_accelerate_available", lambda: is_there)

    return found


def test_a_model_is_spread_over_two_gpus_or_more(machine, accelerate):
    machine(2)
    accelerate(is_there=True)
    assert resolve_device("balanced") == "balanced"


@pytest.mark.parametrize("count", [0, 1])
def test_over_fewer_gpus_nothing_is_spread(machine, accelerate, count):
    machine(count)
    accelerate(is_there=True)
    with pytest.raises(UserError, match=f"over two GPUs or more, and {count} can be seen; give "):
        resolve_device("balanced")


def test_without_accelerate_its_extra_is_named(machine, accelerate):
    machine(2)
    accelerate(is_there=False)
    with pytest.raises(
        UserError, match=r"accelerate.*; install it with .*merit-opt\[multi-gpu\]'"
    ):
        resolve_device("balanced")


@pytest.mark.parametrize(
    ("device", "kind"),
    [("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda"), ("balanced", "cuda")],
)
def test_scores_are_told_apart_by_the_kind_of_device_alone(device, kind):
    assert device_type(device) == kind
