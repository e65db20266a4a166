"""What each frame does to the log-probability of an option: by occlusion, and by gradients.

Positive: the frame speaks for the option, whose log-probability falls without it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

from torch import Tensor

from merit_opt.attribution.frames.asked import Asked, Said
from merit_opt.attribution.frames.gradients import Line, Place, along, at_the_video
from merit_opt.models.frames import hiding_frame, without_frames
from merit_opt.models.pack import Pack

How = Literal["occlusion_mean", "occlusion_hidden", "gradient", "integrated"]
HOWS: tuple[How, ...] = get_args(How)
Places = Sequence[Place]
Attributed = Mapping[Place, tuple[float, ...]]
"""A number each frame."""


def attributed(asked: Asked, how: How, places: Places, line: Line) -> Attributed:
    """The attribution of every frame to the log-probability of options.

    Args:
        asked: What is asked of the live model.
        how: `occlusion_mean`: the frame's features replaced by the video's mean feature.
            `occlusion_hidden`: its tokens unseen by the question. `gradient`: of the
            log-probability, times (features - mean feature). `integrated`: of the gradients along
            the straight line from the mean feature.
        places: Which options of which samples.
        line: How many gradients are taken along that line.

    Raises:
        TrialFailed: The model's numbers are not finite.
    """
    match how:
        case "occlusion_mean" | "occlusion_hidden":
            return _occluded(asked, how, places)
        case "gradient":
            return _by_place(places, at_the_video(asked, places))
        case "integrated":
            return _by_place(places, along(asked, places, line))


def _by_place(places: Places, found: Tensor) -> Attributed:
    return {place: tuple(row) for place, row in zip(places, found.tolist(), strict=True)}


def _occluded(asked: Asked, how: How, places: Places) -> Attributed:
    whole = asked.answers()
    parts = [asked.answers(one) for one in _occlusions(asked, how)]

    def lost(place: Place, part: Said) -> float:
        name, option = place
        return float(whole[name][option].double() - part[name][option].double())

    return {place: tuple(lost(place, part) for part in parts) for place in places}


def _occlusions(asked: Asked, how: How) -> Iterator[Pack]:
    """A pack each frame."""
    baseline = asked.baseline
    for frame in range(asked.frames.count):
        if how == "occlusion_hidden":
            yield hiding_frame(asked.pack, asked.frames, frame)
        else:
            yield without_frames(asked.pack, asked.frames, [frame], baseline)
