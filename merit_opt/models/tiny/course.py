"""How a tiny pair is made in full, and the marks of every stage."""

from merit_opt.models.tiny.backbone import Chapter
from merit_opt.models.tiny.making import Course
from merit_opt.models.tiny.plant import FULL as PLANTING
from merit_opt.models.tiny.tower import TowerSchedule

FIRST_WORDS = Chapter(
    steps=600,
    rate=4e-3,
    scenes=8,
    short=0.6,
    words=0.5,
    easier=0.6,
    bindings=2,
    captions=0.1,
)
ALL = Chapter(
    steps=1400,
    rate=4e-3,
    scenes=16,
    short=0.1,
    words=0.3,
    easier=0.1,
    bindings=1,
    captions=0.1,
)
FULL = Course(
    chapters=(FIRST_WORDS, ALL),
    tower=TowerSchedule(clips=1000, marking_clips=100, batch=32, steps=380, rate=3e-3),
    planting=PLANTING,
    marking_scenes=200,
    table_clips=250,
    letters=0.95,
    tokens=0.99,
    damaged=(0.55, 0.70),
)
