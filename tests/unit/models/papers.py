"""The merges as their papers write them, in plain torch: what an export is compared with."""

from __future__ import annotations

import torch

from merit_opt.merging.task_vectors import random_mask
from merit_opt.recipe.rules import DareTies, Lerp, Slerp, TaskArithmetic, Ties


def merge_by_formula(rule, name, vlm, backbone, base):
    """The tensor `name` of all models, in the VLM's dtype.

    Nothing is shared with the package but the draw of DARE's masks, which no paper gives.
    """
    if isinstance(rule, Lerp | Slerp) and rule.coefficient == 1.0:
        return backbone
    match rule:
        case Lerp(coefficient):
            return torch.lerp(vlm, backbone, coefficient)
        case Slerp(coefficient):
            return great_circle(coefficient, vlm.float(), backbone.float()).to(vlm.dtype)
    learned = [model.float() - base.float() for model in (vlm, backbone)]
    weights = (1.0 - rule.coefficient, rule.coefficient)
    match rule:
        case TaskArithmetic():
            combined = weights[0] * learned[0] + weights[1] * learned[1]
        case Ties():
            combined = disjoint_mean(weights, [trimmed(t, rule.density) for t in learned])
        case DareTies():
            keys = (f"{rule.seed}/{model}/{name}" for model in ("vlm", "backbone"))
            thinned = [
                torch.where(random_mask(t.shape, rule.density, key), t, 0.0) / rule.density
                for t, key in zip(learned, keys, strict=True)
            ]
            combined = disjoint_mean(weights, thinned)
    return (base.float() + rule.scale * combined).to(vlm.dtype)


def great_circle(coefficient, one, other):
    """Spherical interpolation of two float32 tensors, each one vector (Shoemake 1985)."""
    a, b = (tensor.double().flatten() for tensor in (one, other))
    cosine = torch.dot(a, b) / (a.norm() * b.norm())
    if not cosine.abs() <= 0.9995:
        return torch.lerp(one, other, coefficient)
    angle = torch.arccos(cosine)
    shares = [
        torch.sin(part * angle) / torch.sin(angle) for part in (1 - coefficient, coefficient)
    ]
    return shares[0].item() * one + shares[1].item() * other


def trimmed(vector, density):
    """The largest entries by magnitude, of equal ones the first; zero elsewhere."""
    flat = vector.flatten()
    order = flat.abs().argsort(descending=True, stable=True)
    kept = order[: max(1, int(density * len(flat)))]
    return torch.zeros_like(flat).index_put((kept,), flat[kept]).reshape(vector.shape)


def disjoint_mean(weights, vectors):
    """By entry, the weighted mean of those whose sign is the weighted sum's; zero where none is."""
    sign = torch.where(sum(w * t for w, t in zip(weights, vectors, strict=True)) >= 0, 1.0, -1.0)
    agree = [t * sign > 0 for t in vectors]
    total = sum(
        torch.where(a, w * t, 0.0) for a, w, t in zip(agree, weights, vectors, strict=True)
    )
    share = sum(torch.where(a, w, 0.0) for a, w in zip(agree, weights, strict=True))
    return torch.where(share > 0, total / share, 0.0)
