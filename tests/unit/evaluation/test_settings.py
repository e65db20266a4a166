from dataclasses import replace

import pytest

from merit_opt.data import versions
from merit_opt.errors import UserError
from merit_opt.evaluation import settings as settings_module
from merit_opt.evaluation.settings import EngineSettings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threads": 0}, r"engine\.threads is 1 or more, got 0"),
        ({"backbone": "disk"}, r"engine\.backbone is device or host, got 'disk'"),
        ({"features_gib": 0.0}, r"engine\.features_gib is above 0"),
        ({"features_gib": float("nan")}, r"engine\.features_gib is above 0"),
        ({"levels_gib": -1.0}, r"0 or more; got 1\.0, -1\.0, 0\.0, 0"),
        ({"host_levels_gib": -1.0}, "0 or more"),
        ({"prefixes": -1}, "0 or more"),
        (
            {"decode_workers": 0},
            r"engine\.decode_workers and .* above 0 and .*; got 0, 64, 60\.0$",
        ),
        ({"decode_seconds": 0.0}, r"engine\.decode_seconds is above 0"),
        ({"decode_seconds": float("inf")}, r"engine\.decode_seconds is above 0 and at most"),
        ({"decode_seconds": float("nan")}, r"engine\.decode_seconds is above 0 and at most"),
        ({"decode_seconds": 1e300}, r"engine\.decode_seconds is above 0 and at most"),
        ({"frames_in_flight": 0}, r"engine\.frames_in_flight are 1 or more"),
        ({"decoder": "ffmpeg"}, r"engine\.decoder is one of auto, .*, got 'ffmpeg'"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings, changes, message):
    with pytest.raises(UserError, match=message):
        replace(settings, **changes)


def test_the_settings_digest_tells_numbers_apart(settings, monkeypatch):
    digests = [
        settings.digest("cpu"),
        settings.digest("cuda"),
        replace(settings, threads=2).digest("cpu"),
        replace(settings, decoder="pyav").digest("cpu"),
    ]
    for constant in ("SCORERS", "LAYOUT", "MERGES", "PROMPTS", "FORMAT"):
        with monkeypatch.context() as patched:
            patched.setattr(settings_module, constant, "another/1")
            digests.append(settings.digest("cpu"))
    monkeypatch.setattr(versions, "version", lambda _library: "0.0")
    digests.append(settings.digest("cpu"))
    assert len(set(digests)) == len(digests)
    same: EngineSettings = replace(settings, backbone="host", levels_gib=3.0)
    assert same.digest("cpu") == digests[-1]
