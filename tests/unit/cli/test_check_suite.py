"""What a suite's media will take is counted as they will be read."""

from dataclasses import replace

import pytest

from merit_opt.cli.check_suite import media_lines
from merit_opt.data.media import bounds
from merit_opt.data.media.decode_pool import MediaSettings
from merit_opt.data.media.frames import FramePlan
from merit_opt.data.media.quarantine import Quarantine
from merit_opt.errors import UserError
from merit_opt.models.footprint import VideoShape


class Silent:
    def stage(self, what, done, total):
        """Nobody is told."""


@pytest.fixture
def shapes_of(small_suite, tmp_path):
    """The shapes of a suite of rendered clips, 2 s at 8 frames a second, under this plan."""

    def look(plan):
        suite = replace(small_suite, asking=replace(small_suite.asking, frames=plan))
        settings = MediaSettings(workers=1, seconds=60.0, frames_in_flight=64, decoder="auto")
        shapes = []
        list(media_lines(suite, settings, Quarantine(tmp_path / "q.json"), shapes, Silent()))
        return set(shapes)

    return look


@pytest.mark.parametrize(
    ("plan", "frames"),
    [
        (FramePlan("fps", 768, 1.0), 2),
        (FramePlan("fps", 3, 4.0), 3),
        (FramePlan("all", 1, 1.0), 16),
        (FramePlan("uniform", 24, 1.0), 24),
    ],
    ids=str,
)
def test_frames_are_counted_as_the_plan_will_choose_them(shapes_of, plan, frames):
    assert shapes_of(plan) == {VideoShape(frames, 56, 56, 8.0)}


def test_videos_that_will_be_too_large_are_told_with_what_to_do(shapes_of, monkeypatch):
    monkeypatch.setattr(bounds, "TOTAL_BYTES", 15 * 56 * 56 * 3)
    with pytest.raises(UserError, match=r"16 frames of 56x56 pixels take .* fewer frames"):
        shapes_of(FramePlan("all", 1, 1.0))
