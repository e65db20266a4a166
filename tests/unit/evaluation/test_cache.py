import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merit_opt.errors import UserError
from merit_opt.evaluation.cache import EvaluationCache
from merit_opt.evaluation.evaluation import Evaluation, Score

KEY = ("pair", "recipe", "suite", "engine")
KNOWN = Evaluation("suite", "recipe", ("a", "b"), (Score(1.0, "A", -0.1), Score(None, why="gone")))
numbers = st.floats(allow_nan=False, allow_infinity=False)
scores = st.builds(
    Score,
    value=st.none() | st.sampled_from([0.0, 1.0]),
    answer=st.sampled_from(["", "A", "Z"]),
    log_probability=st.none() | numbers,
    why=st.text(max_size=20),
)
evaluations = st.lists(st.tuples(st.text(max_size=9), scores), max_size=6).map(
    lambda rows: Evaluation(
        "suite", "recipe", tuple(i for i, _ in rows), tuple(s for _, s in rows)
    )
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def cache(tmp_path):
    return EvaluationCache(tmp_path / "cache")


def only_file(tmp_path):
    (path,) = (tmp_path / "cache").iterdir()
    return path


@given(evaluations, st.lists(st.text(max_size=5), min_size=1, max_size=4).map(tuple))
def test_what_was_put_is_what_one_gets(folder, evaluation, key):
    EvaluationCache(folder).put(key, evaluation)
    assert EvaluationCache(folder).get(key) == evaluation


def test_an_unknown_key_has_nothing(cache):
    assert cache.get(KEY) is None


@pytest.mark.parametrize("place", range(4))
def test_every_part_of_the_key_counts(cache, place):
    cache.put(KEY, KNOWN)
    other = (*KEY[:place], "other", *KEY[place + 1 :])
    assert cache.get(other) is None
    assert cache.get(KEY) == KNOWN


def test_the_order_of_the_key_counts(cache):
    cache.put(KEY, KNOWN)
    assert cache.get(KEY[::-1]) is None


@pytest.mark.parametrize("length", [0, 1, 50, -2])
def test_a_torn_file_is_dropped(cache, tmp_path, length):
    cache.put(KEY, KNOWN)
    path = only_file(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    assert cache.get(KEY) is None
    assert not path.exists()


def edited(**changes):
    def edit(value):
        return value | {"evaluation": value["evaluation"] | changes}

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        lambda v: v | {"schema": 1},
        lambda v: v | {"key": [*KEY[:3], "other"]},
        lambda v: {k: v[k] for k in ("schema", "key")},
        lambda _: [],
        lambda _: None,
        edited(ids=["a"]),
        edited(scores=[{"value": 1.0}]),
        edited(scores=[{"value": 1.0}, {"points": 2}]),
        edited(scores=[[1.0], [0.0]]),
    ],
    ids=["schema", "key", "keys", "list", "null", "ids", "few", "score", "lists"],
)
def test_a_foreign_file_is_dropped(cache, tmp_path, edit):
    cache.put(KEY, KNOWN)
    path = only_file(tmp_path)
    path.write_text(json.dumps(edit(json.loads(path.read_text()))))
    assert cache.get(KEY) is None
    assert not path.exists()
    cache.put(KEY, KNOWN)
    assert cache.get(KEY) == KNOWN


def test_a_binary_file_is_dropped(cache, tmp_path):
    cache.put(KEY, KNOWN)
    only_file(tmp_path).write_bytes(b"\xff\xfe\x00")
    assert cache.get(KEY) is None


def test_a_folder_that_cannot_be_has_nothing_and_takes_nothing(tmp_path):
    (tmp_path / "file").write_text("mine")
    cache = EvaluationCache(tmp_path / "file" / "cache")
    assert cache.get(KEY) is None
    with pytest.raises(UserError, match=r"cannot write .*/file/cache/"):
        cache.put(KEY, KNOWN)
    assert os.listdir(tmp_path) == ["file"]
