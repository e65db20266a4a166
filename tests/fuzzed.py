"""Files from strangers for the three parsers: changed in places, torn, or hardly files at all.

They are drawn from a `random.Random`: Hypothesis gives one that it can shrink, and a seed one that is
fast.
"""

import copy
import datetime
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from merit_opt.data.question_line import FIELDS, MEDIA_FIELDS, NUMBER_FIELDS
from merit_opt.errors import UserError
from merit_opt.recipe.recipe import PARTS, Recipe, from_json, to_json
from merit_opt.recipe.rules import RULES
from merit_opt.recipe.store import read_recipe
from tests.suites import jsonl
from tests.unit.models.mergekit_files import imported

LONGEST_WORDS = 20_000
Key = str | int
Place = tuple[Key, ...]


ODD = (
    [], {}, "", "\0", "..", "/", "\ud800", "\u2028", "a" * 2000, True, False, None, 0, -1, 0.5, 1,
    1e308, -0.0, float("nan"), float("inf"), 2**63, -(10**30), 10**9,
)  # fmt: skip
PIECES = (
    *(bytes([i]) for i in b"{}[]:,\"'\n\r \t-#\\\0\xff@`=~"),
    b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\\ud800", b"\\u0000", b"NaN", b"Infinity",
    b"1e999", b"9" * 5000, b"0x10", b"1_000", b"1:30", b"2001-01-01", b"2001-99-99", b"null", b"true",
    b"&a ", b"*a", b"<<: ", b"!!python/object/apply:os.system [id]", b"!!int ", b"? ", b"--- ",
    b"...", b"%YAML 1.1\n", b"|\n", b">\n", b"[" * 3000, b'{"a":' * 3000, b"a: " * 100, b"../",
)  # fmt: skip


@dataclass(frozen=True)
class Grammar:
    """How a format's files are made up.

    Attributes:
        whole: What right files hold.
        words: Its keys.
        leaves: What may stand at a place, beside `ODD`.
        write: A value as a file.
        letters: Which a text is of that is hardly a file.
    """

    whole: Sequence[Any]
    words: Sequence[str]
    leaves: Sequence[Any]
    write: Callable[[Any], bytes]
    letters: str

    def made(self, by: Random) -> bytes:
        """A file: of ten, five changed, three torn, one of bytes and one of letters."""
        kind = by.randrange(10)
        if kind == 0:
            return bytes(by.randrange(256) for _ in range(by.randrange(200)))
        if kind == 1:
            return "".join(by.choice(self.letters) for _ in range(by.randrange(60))).encode()
        value = copy.deepcopy(by.choice(self.whole))
        for _ in range(by.choice((0, 1, 1, 2) if kind < 5 else (1, 1, 2, 3))):
            value = self.changed(by, value)
        written = self.write(value)
        return torn(by, written) if kind < 5 else written

    def changed(self, by: Random, value: Any) -> Any:
        """The value with one place of it changed."""
        found = list(places(value))
        place = by.choice(found)
        new = self.leaf(by)
        how = by.choice(("put", "copy", "list", "name", "take", "rename", "add"))
        if how == "copy":
            new = copy.deepcopy(at(value, by.choice(found)))
        elif how == "list":
            new = [at(value, place)]
        elif how == "name":
            new = {by.choice(self.words): at(value, place)}
        if not place:
            return new if how in ("put", "list", "name") else value
        return self.with_new(by, value, (place, how, new))

    def with_new(self, by: Random, value: Any, change: tuple[Place, str, Any]) -> Any:
        """The value after a change below its top."""
        place, how, new = change
        parent, key = at(value, place[:-1]), place[-1]
        is_named = isinstance(parent, dict)
        if how == "take":
            del parent[key]
        elif how == "rename" and is_named:
            parent[by.choice(self.words)] = parent.pop(key)
        elif how == "add" and is_named:
            parent[by.choice(self.words)] = new
        elif how == "add":
            parent.insert(0, new)
        else:
            parent[key] = new
        return value

    def leaf(self, by: Random) -> Any:
        """Something small."""
        match by.randrange(8):
            case 0 | 1:
                return copy.deepcopy(by.choice(ODD))
            case 2:
                return by.uniform(-1.0, 3.0)
            case 3:
                return by.randrange(-2, 12)
            case 4:
                return by.choice(self.words)
            case _:
                return copy.deepcopy(by.choice(self.leaves))


def places(value: object, here: Place = ()) -> Iterator[Place]:
    """Where something stands in a value, the whole first."""
    yield here
    pairs: Iterable[tuple[Key, object]] = ()
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value)
    for key, own in pairs:
        yield from places(own, (*here, key))


def at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def torn(by: Random, content: bytes) -> bytes:
    """One to four pieces put in, put over others or taken out."""
    for _ in range(by.choice((1, 1, 2, 4))):
        start, length = by.randrange(len(content) + 1), by.choice((0, 0, 1, 2, 5, 40))
        piece = by.choice(PIECES) if by.randrange(4) else bytes([by.randrange(256)])
        content = content[:start] + by.choice((piece, piece, b"")) + content[start + length :]
    return content


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


class _WithoutAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def as_yaml(value: object) -> bytes:
    return yaml.dump(value, Dumper=_WithoutAliases, sort_keys=False).encode(errors="replace")


_NUMBERS = {"coefficient": 0.5, "scale": 1.0, "density": 0.2, "seed": 3}
RECIPES = [
    {"schema": 1, "n_layers": 3, "layers": {}},
    {"schema": 1, "n_layers": 2, "layers": {"0": {"attention": {"rule": "lerp", "coefficient": 1}}}},
    {
        "schema": 1,
        "n_layers": len(RULES),
        "layers": {
            str(i): {
                PARTS[i % 3]: {"rule": name}
                | {f: _NUMBERS[f] for f in kind.__dataclass_fields__}
            }
            for i, (name, kind) in enumerate(RULES.items())
        },
    },
]  # fmt: skip
RECIPE = Grammar(
    RECIPES,
    words=("schema", "n_layers", "layers", "0", "1", "01", "-1", "", "rule", *PARTS, *_NUMBERS),
    leaves=(*RULES, 10**12, 10_001, 2**32 - 1, 0.25, 0.5, 1),
    write=as_json,
    letters='{}[]":,0123e-. ',
)


def _is_itself(recipe: Recipe) -> bool:
    return from_json(to_json(recipe)) == recipe


ROWS = [
    {"id": "q1", "media": "a.mp4", "question": "Which?", "options": ["x", "y"], "answer": "B"},
    {"id": 2, "media": ["a.mp4", "b.mp4"], "question": "Is it?", "answer": "yes", "role": "TR"},
    {
        "id": "q3",
        "media": {"path": "shots", "fps": 2.0},
        "question": "How many?",
        "answer": {"value": 3, "tolerance": 0.5},
        "categories": {"skill": "count"},
        "group": "g",
        "evidence": [[0, 1.5]],
    },
    {
        "id": "q4",
        "media": {"path": "a.mp4", "start": 1, "end": 2.5},
        "question": "What is said?",
        "options": ["x", "y", "z"],
        "answer": 0,
        "subtitles": "a.srt",
        "group": "a.mp4",
    },
]  # fmt: skip


def as_lines(lines: object) -> bytes:
    return b"\n".join(as_json(line) for line in (lines if isinstance(lines, list) else [lines]))


LINES = Grammar(
    [ROWS, ROWS[:1], ROWS[2:3]],
    words=(*FIELDS, *MEDIA_FIELDS, *NUMBER_FIELDS, ""),
    leaves=(
        "a.mp4", "shots", "a.srt", "../a.mp4", "/etc/passwd", "link", "loop", "A", "yes", "TP",
        "packed.zip", "packed/in.mp4", "bad/x.mp4", "q1", 2.5,
    ),
    write=as_lines,
    letters='{}[]":,0123e-. \n',
)  # fmt: skip


MODELS = [{"model": "VLM"}, {"model": "LLM"}]
WEIGHTS = {"weight": [{"filter": "self_attn", "value": [0, 0.5, 1]}, {"value": 0}]}
DOCUMENTS = [
    {
        "merge_method": "linear",
        "models": [
            {"model": "VLM", "parameters": {"weight": 1}},
            {"model": "LLM", "parameters": {"weight": 0}},
        ],
        "dtype": "bfloat16",
    },
    {
        "merge_method": "slerp",
        "base_model": "VLM",
        "slices": [
            {
                "sources": [{**m, "layer_range": [0, 4]} for m in MODELS],
                "parameters": {"t": [{"filter": "layers.1.mlp", "value": 0.5}, {"value": 0}]},
            }
        ],
        "tokenizer_source": "base",
    },
    {
        "merge_method": "ties",
        "base_model": "BASE",
        "modules": {
            "text_decoder": {
                "models": [
                    {"model": "VLM", "parameters": {"weight": 1, "density": 1}},
                    {"model": "LLM", "parameters": {"weight": 0, "density": 1}},
                    {"model": "BASE"},
                ],
                "parameters": {"normalize": True, "lambda": 1.0},
            }
        },
    },
    {
        "merge_method": "task_arithmetic",
        "base_model": "VLM",
        "models": [{"model": "VLM"}, {"model": "LLM", "parameters": WEIGHTS}],
        "parameters": {"lambda": 1, "normalize": False, "int8_mask": True},
        "tokenizer": {"source": "VLM"},
    },
]
DOCUMENT = Grammar(
    DOCUMENTS,
    words=(
        "merge_method", "models", "model", "slices", "sources", "modules", "text_decoder",
        "vision_tower", "layer_range", "parameters", "weight", "density", "t", "lambda", "normalize",
        "rescale", "filter", "value", "base_model", "dtype", "out_dtype", "tokenizer", "source",
        "tokenizer_source", "chat_template", "int8_mask", "",
    ),
    leaves=(
        "linear", "slerp", "ties", "task_arithmetic", "VLM", "LLM", "BASE", "*", "self_attn",
        "layers.1.", "1e-3", [0, 4], [0, 2], [2, 4], 0, 1, 0.5, datetime.date(2001, 1, 1), b"bytes",
    ),
    write=as_yaml,
    letters="{}[]&*!|>'\"%@`:-? \n\t#,~=<abc01.x_eE+",
)  # fmt: skip


def text_of(path: Path) -> str:
    """As `recipe=mergekit:FILE` reads it."""
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise UserError(str(error)) from None


def prepared(folder: Path) -> None:
    """What the lines name: files, a folder of frames, links, and a zip."""
    for name in ("a.mp4", "b.mp4"):
        (folder / name).write_bytes(name.encode())
    (folder / "shots").mkdir()
    (folder / "shots" / "1.jpg").write_bytes(b"a picture")
    (folder / "a.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    (folder / "link").symlink_to(folder.parent)
    (folder / "loop").symlink_to("loop")
    with zipfile.ZipFile(folder / "packed.zip", "w") as file:
        file.writestr("in.mp4", b"a clip")
        file.writestr("../out.mp4", b"another")


@dataclass(frozen=True)
class Parser:
    """What is fuzzed.

    Attributes:
        grammar: Of its files.
        read: The file -> what it says; what is wrong with it is a `UserError`.
        keeps: Whether what was read is what it should be.
    """

    grammar: Grammar
    read: Callable[[Path], Any]
    keeps: Callable[[Any], bool] = lambda found: True

    def takes(self, path: Path, content: bytes) -> str:
        """Why the file is refused; empty where it is read. Anything else is a fault of ours."""
        path.write_bytes(content)
        try:
            found = self.read(path)
        except UserError as error:
            told = str(error)
            assert 0 < len(told) <= LONGEST_WORDS, len(told)
            return told
        assert self.keeps(found), found
        return ""


PARSERS = {
    "recipe": Parser(RECIPE, read_recipe, _is_itself),
    "jsonl": Parser(LINES, lambda path: jsonl(path, scorer="generate")),
    "mergekit": Parser(DOCUMENT, lambda path: imported(text_of(path))),
}
