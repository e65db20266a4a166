"""What happens in a rendered clip: four events, one after another, at known frames."""

import random
from dataclasses import dataclass

COLOURS = ("red", "green", "blue", "yellow", "cyan", "magenta", "white", "orange")
SHAPES = ("circle", "square", "triangle", "cross")
ACTIONS = ("left", "right", "up", "down", "blink", "grow", "shrink", "still")
EVENTS_PER_CLIP = 4
FRAMES_PER_EVENT = 4


@dataclass(frozen=True, slots=True)
class Event:
    """One object doing one thing.

    Attributes:
        colour: One of `COLOURS`, unique within its clip.
        shape: One of `SHAPES`.
        action: One of `ACTIONS`.
        first_frame: Index of the first frame that shows it.
        last_frame: Index of the last one, included.
    """

    colour: str
    shape: str
    action: str
    first_frame: int
    last_frame: int


Events = tuple[Event, ...]


def clip_events(*, seed: int, clip: int) -> Events:
    """The events of one clip, drawn from `seed` and the clip's number alone, in order."""
    rng = random.Random(f"events/{seed}/{clip}")
    return tuple(
        Event(
            colour=colour,
            shape=rng.choice(SHAPES),
            action=rng.choice(ACTIONS),
            first_frame=index * FRAMES_PER_EVENT,
            last_frame=(index + 1) * FRAMES_PER_EVENT - 1,
        )
        for index, colour in enumerate(rng.sample(COLOURS, EVENTS_PER_CLIP))
    )
