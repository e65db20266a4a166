"""How a tiny pair is made in full, and the marks of every stage."""

from merit_opt.models.tiny.backbone import BackboneSchedule
from merit_opt.models.tiny.making import Course
from merit_opt.models.tiny.plant import FULL as PLANTING
from merit_opt.models.tiny.tower import TowerSchedule

FULL = Course(
    backbone=BackboneSchedule(
        steps=1400, rate=4e-3, scenes=16, words=0.3, captions=0.1, keep_every=100
    ),
    tower=TowerSchedule(clips=1000, marking_clips=100, batch=32, steps=380, rate=3e-3),
    planting=PLANTING,
    marking_scenes=200,
    table_clips=250,
    letters=0.95,
    tokens=0.99,
    damaged=(0.55, 0.70),
    perceives=0.85,
    lost=0.5,
    needed=0.03,
    apart=0.25,
    harmless=0.1,
)
