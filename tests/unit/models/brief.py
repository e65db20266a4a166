"""Planting in a few steps: what holds however little is learnt."""

from merit_opt.models.tiny.stages import Schedule

BRIEF = Schedule(
    training_clips=4,
    measuring_clips=4,
    batch=2,
    distil_steps=1,
    distil_rate=1e-2,
    drift_steps=1,
    drift_rate=1e-2,
    decoy_steps=2,
    decoy_rate=1e-2,
    damage_steps=2,
    damage_rate=1e-2,
    check_every=1,
    stop_below=-1.0,
    stop_apart=-1.0,
)
