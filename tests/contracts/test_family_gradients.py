"""Slopes of every family's answers are the differences that small moves of its weights make."""

from contextlib import contextmanager

import pytest
import torch

from merit_opt.models.alignment import layer_tensor
from merit_opt.models.gradient import backbone_of, passed, slopes
from tests.contracts.stock import answers, packs_of, snapshot, tensors_of, unlike

STEP = 3e-4  # larger ones send tokens to other experts
RELATIVE, ABSOLUTE = 0.02, 1.5e-2


def first_options(rows):
    """Two numbers of a pack: of all questions together, and of the first alone."""
    return torch.stack([row[0] for row in rows]).sum(), rows[0][0]


@contextmanager
@torch.no_grad()
def moved(pair, backbone, by):
    """The VLM a little way towards the backbone, or away from it."""
    before = {tensor: layer_tensor(pair.model, tensor).clone() for tensor in backbone}
    try:
        for tensor, goal in backbone.items():
            layer_tensor(pair.model, tensor).add_(goal - before[tensor], alpha=by)
        yield
    finally:
        for tensor, own in before.items():
            layer_tensor(pair.model, tensor).copy_(own)


def difference(pair, asked, backbone):
    found = []
    for by in (STEP, -STEP):
        with moved(pair, backbone, by):
            rows = [torch.tensor(row) for row in answers(pair, asked).values()]
            found.append(torch.stack(first_options(rows)).double())
    return ((found[0] - found[1]) / (2 * STEP)).tolist()


@pytest.fixture(scope="module")
def screened(pair, small_suite, clips):
    """A pack, the backbone, and the slopes of the pack's two numbers."""
    (asked,) = packs_of(pair, small_suite, clips, 1)
    backbone = backbone_of(pair, pair.alignment.parts)
    return asked, backbone, slopes(pair, passed(pair, asked), backbone, first_options)


def sums_and_differences(pair, screened, wanted):
    asked, backbone, found = screened
    chosen = {tensor: goal for tensor, goal in backbone.items() if wanted(tensor)}
    assert chosen
    sums = [sum(own[tensor] for tensor in chosen) for own in found]
    return sums, difference(pair, asked, chosen)


def test_of_each_part(pair, screened):
    for part in pair.alignment.parts:
        sums, expected = sums_and_differences(pair, screened, lambda t: t.part == part)  # noqa: B023
        assert sums == pytest.approx(expected, rel=RELATIVE, abs=ABSOLUTE), part


def test_of_each_layer(pair, screened):
    for layer in range(pair.n_layers):
        sums, expected = sums_and_differences(pair, screened, lambda t: t.layer == layer)  # noqa: B023
        assert sums == pytest.approx(expected, rel=RELATIVE, abs=ABSOLUTE), layer


def test_fewer_tensors_have_the_same_slopes(pair, screened):
    asked, backbone, found = screened
    last = {t: goal for t, goal in backbone.items() if t.layer == pair.n_layers - 1}
    again = slopes(pair, passed(pair, asked), last, first_options)
    assert again == [{t: own[t] for t in last} for own in found]


def test_the_way_through_answers_as_an_evaluation_does(pair, screened):
    asked, _, _ = screened
    rows = [row.tolist() for row in passed(pair, asked).answers]
    assert rows == list(answers(pair, asked).values())


def test_nothing_of_the_model_is_changed(either, small_suite, clips):
    before = snapshot(either.model)
    wanted = {name: p.requires_grad for name, p in either.model.named_parameters()}
    (asked,) = packs_of(either, small_suite, clips, 1)
    backbone = backbone_of(either, either.alignment.parts)
    slopes(either, passed(either, asked), backbone, first_options)
    assert unlike(tensors_of(either.model), before) == []
    assert {name: p.requires_grad for name, p in either.model.named_parameters()} == wanted
    assert all(p.grad is None for p in either.model.parameters())
