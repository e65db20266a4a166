import gc
import re
import shutil
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from merit_opt.data.sample import Media
from merit_opt.errors import UserError
from merit_opt.evaluation import prepare
from merit_opt.evaluation.evaluation import role_means
from merit_opt.evaluation.masking import Masking
from merit_opt.models.families.inputs import MediaRefused
from merit_opt.recipe.constructors import attention, base, uniform
from merit_opt.recipe.intervention import Intervention

RESTORED = attention(9, {3: 1.0, 5: 1.0})
ROUNDING = 2e-5


def furthest(one, other):
    ours, theirs = (e.measured("log_probability") for e in (one, other))
    shared = ours.keys() & theirs.keys()
    assert shared
    return max(abs(ours[i] - theirs[i]) for i in shared)


@pytest.fixture
def copied(half, tmp_path):
    """Half of the suite about copies of its videos, which can be broken."""
    folder = tmp_path / "videos"
    folder.mkdir()

    def copy(media):
        return Media(Path(shutil.copy(media.path, folder)), media.digest)

    copies = {media: copy(media) for media in dict.fromkeys(s.media[0] for s in half.samples)}
    return replace(
        half, samples=tuple(replace(s, media=(copies[s.media[0]],)) for s in half.samples)
    )


def asked_about(suite, name):
    return [s for s in suite.samples if s.media[0].path.name == name]


def truncate(suite, name):
    path = asked_about(suite, name)[0].media[0].path
    path.write_bytes(path.read_bytes()[:1000])
    return path


def test_of_a_medium_that_the_processor_refuses_nothing_is_kept(engine, few, monkeypatch):
    shown = []

    def refuse(_family, _model, _processor, medium):
        shown.append(weakref.ref(medium.frames))
        raise MediaRefused("too short")

    monkeypatch.setattr(prepare, "visual_features", refuse)
    preparer = engine()._preparer
    with pytest.raises(UserError, match="too short"):
        preparer.prepare(few)
    gc.collect()
    assert [one() for one in shown] == [None] * 3


def test_a_corrupt_video_is_left_out_for_every_recipe_alike(engine, copied, half):
    path = truncate(copied, "00003.mp4")
    asked, copied = engine(), replace(copied, max_unusable=0.2)
    lost = {s.id for s in asked_about(copied, path.name)}
    assert len(lost) == 5
    for recipe in (base(9), RESTORED, uniform(9, 0.5)):
        found = asked.evaluate(recipe, copied)
        assert found.unscored.keys() == lost
        assert all(
            why.startswith(f"{path}: not a readable video") for why in found.unscored.values()
        )
        assert found.ids == tuple(s.id for s in copied.samples)
        assert len(found.measured("accuracy")) == 25
    whole = engine().evaluate(uniform(9, 0.5), half)
    assert furthest(found, whole) <= ROUNDING


def test_left_out_samples_do_not_count_as_wrong(engine, copied, half):
    truncate(copied, "00003.mp4")
    left = [s.id for s in copied.samples if s.media[0].path.name != "00003.mp4"]
    found = engine().evaluate(base(9), replace(copied, max_unusable=0.2))
    whole = engine().evaluate(base(9), half.only(left))
    assert role_means(found, copied, "accuracy") == role_means(whole, half.only(left), "accuracy")


def test_too_many_lost_samples_refuse_the_suite_and_list_each_file_once(engine, copied):
    torn = truncate(copied, "00003.mp4")
    gone = asked_about(copied, "00005.mp4")[0].media[0].path
    gone.unlink()
    with pytest.raises(UserError) as caught:
        engine().evaluate(base(9), replace(copied, max_unusable=0.2))
    message = str(caught.value)
    assert re.match(
        r"suite clips: 10 of 30 samples cannot be asked, more than "
        r"suite\.max_unusable=0\.2; mend what is told here, or allow more of them:\n",
        message,
    )
    assert Counter(re.findall(r"\d{5}\.mp4", message)) == {torn.name: 1, gone.name: 1}
    assert message.splitlines()[1:] == [
        line for line in message.splitlines() if line.startswith("  ")
    ]


def test_the_limit_itself_is_allowed(engine, copied):
    truncate(copied, "00003.mp4")
    two = copied.only(s.id for s in copied.samples[10:20])
    assert len(engine().evaluate(base(9), replace(two, max_unusable=0.5)).unscored) == 5
    with pytest.raises(UserError, match="5 of 10 samples cannot be asked"):
        engine().evaluate(base(9), replace(two, max_unusable=0.49))


def test_without_a_limit_above_zero_one_lost_sample_refuses_the_suite(engine, copied):
    truncate(copied, "00003.mp4")
    with pytest.raises(UserError, match=r"5 of 30 samples .* suite\.max_unusable=0\.0; mend"):
        engine().evaluate(base(9), copied)


def test_a_video_that_is_there_again_is_measured_again(engine, copied, half):
    path = truncate(copied, "00003.mp4")
    assert len(engine("cache").evaluate(base(9), replace(copied, max_unusable=0.2)).unscored) == 5
    shutil.copy(asked_about(half, path.name)[0].media[0].path, path)
    found = engine("cache").evaluate(base(9), replace(copied, max_unusable=0.2))
    assert found.unscored == {}
    assert engine("cache").evaluate(base(9), copied) == found


def test_a_stricter_limit_also_holds_for_what_the_cache_knows(engine, copied, forwards):
    truncate(copied, "00003.mp4")
    known = engine("cache").evaluate(base(9), replace(copied, max_unusable=0.2))
    asked = len(forwards)
    assert engine("cache").evaluate(base(9), replace(copied, max_unusable=0.3)) == known
    with pytest.raises(UserError, match="5 of 30 samples cannot be asked"):
        engine("cache").evaluate(base(9), copied)
    assert len(forwards) == asked


def test_a_mean_is_found_again_by_the_samples_it_is_of(
    engine, copied, half, few, forwards, tmp_path
):
    mean = Intervention((2, 6), "mlp", "mean")
    copied = replace(copied, max_unusable=0.2)

    def measured(cache="cache"):
        before = len(forwards)
        found = engine(cache).evaluate(RESTORED, few, Masking(mean, copied))
        return found, len(forwards) > before

    whole, _ = measured()
    assert measured() == (whole, False)
    path = truncate(copied, "00003.mp4")
    assert measured() == (whole, False)  # its features are still there
    shutil.rmtree(tmp_path / "cache" / "features")
    less, is_new = measured()
    assert is_new
    assert less.scores != whole.scores
    left = copied.only(s.id for s in copied.samples if s.media[0].path != path)
    asked = engine("other")
    assert asked.usable(copied) == left
    assert asked.left_out(copied).keys() == {s.id for s in asked_about(copied, path.name)}
    assert asked.left_out(left) == {}
    assert asked.usable(left) is left
    assert less == asked.evaluate(RESTORED, few, Masking(mean, left))
    assert measured() == (less, False)
    shutil.copy(asked_about(half, path.name)[0].media[0].path, path)
    assert measured() == (whole, False)
