"""Which answers a model's own words name: one is an answer, several or none are not.

Nothing is guessed. A letter counts where it stands as an answer, an option's text where it is all
that is said, and no word is searched for a letter in it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from merit_opt.data.sample import LETTERS, YES_NO, Number, Sample

NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip

_THOUGHT = re.compile(r"<(think|thinking|thought)>.*?</\1>", re.DOTALL | re.IGNORECASE)
_THOUGHT_END = re.compile(r"\A.*</(?:think|thinking|thought)>", re.DOTALL | re.IGNORECASE)
_THOUGHT_START = re.compile(r"<(?:think|thinking|thought)>.*", re.DOTALL | re.IGNORECASE)
_FRAMED = re.compile(
    r"<answer>(.*?)(?:</answer>|$)|\\boxed\{\s*(?:\\(?:text|mathrm|mathbf)\{)?([^{}]*)\}",
    re.DOTALL | re.IGNORECASE,
)
_VULGAR = re.compile("[¼-¾⅐-⅞]")
_RAISED = re.compile("[⁰¹²³⁴-⁹⁺⁻]+")
# Between two digits it is no markup: 2*5, 2**5.
_MARKUP = re.compile(r"(?<![\d*_`$])[*_`$]+|[*_`$]++(?!\d)")
_OPENING, _CLOSING = "\"'([{ \t\n", "\"')]}.,;:!? \t\n"
_ASCII = {0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"', 0x2044: "/"} | dict.fromkeys(
    (0x2010, 0x2011, 0x2013, 0x2014, 0x2212), "-"
)

# A capital that begins a phrase, as in `A man` or `I think`, is a word and no letter.
_WORD = r"(?!\s+(?!(?:because|since|as|and|or|is|based|but|not)\b)[a-z])"
_LETTER = rf"(?:(?i:option|choice|letter)\s+)?[(\[\"']?(?<![\w'])([B-HJ-Z]|[AI]{_WORD})(?![\w'])[)\]\"']?"
_JOINED = rf"{_LETTER}(?:\s*(?:,(?:\s*(?:or|and))?|/|&|or|and)\s*{_LETTER})*"
_IS = r"(?:\s+(?:is|would\s+be|should\s+be|must\s+be)(?:\s*:)?|\s*[:=])\s*"
_PREFIX = rf"(?i:\banswer{_IS}|\b(?:correct|right|best|final|likely)\s+(?:option|choice|one|letter){_IS})"
_DECLARED = (
    re.compile(rf"{_PREFIX}({_JOINED})"),
    re.compile(rf"(?i:\bit(?:\s+is|'s)|\b(?:choose|select|pick|go\s+with))\s+({_JOINED})"),
    re.compile(rf"({_JOINED})\s+(?i:(?:is|are)\s+(?:the\s+)?(?:correct|right|best|answer)\b)"),
    re.compile(rf"(?:\A|\n)\W*({_LETTER})\W*\Z"),
)
_DECLARED_SMALL = re.compile(rf"{_PREFIX}(?:\(([a-z])\)|([a-z])\W*$)", re.MULTILINE)
_DECLARED_TEXT = re.compile(rf"{_PREFIX}(.+)")
_ALONE = re.compile(r"\W*(?:(?:option|choice|letter|answer)\b\W*)?([a-z])\W*", re.IGNORECASE)
_LEADING = re.compile(rf"\W*((?>{_JOINED}))(?:[.:,]|(?<=[)\]])|\s+-|\s*\n)\s*(.*)")
_LEADING_SMALL = re.compile(r"\W*([a-z])[.)]\s+(.*)")
_LISTED = re.compile(r"(?:^|(?<=\s))\(?([A-Z])[.):]\s+\S")
_TRAILING = re.compile(rf"[,:;.-]\s*(?:(?i:so|thus|therefore|hence)\s+)?({_LETTER})\W*\Z")
_NUMBERED = re.compile(r"(\boption\s+|\A\W*(?=\d+(?:[.:)]|\W*\Z)))(\d+)\b", re.IGNORECASE)
_STANDING = re.compile(_LETTER)

_YES_NO_BOTH = re.compile(r"\byes\s*(?:or|and|/|,)\s*no\b|\bno\s*(?:or|and|/|,)\s*yes\b")
_YES_NO = (
    re.compile(r"(?:\A|[.!?\n])\W*(yes|no)\b(?=\W*(?:\Z|\n)|\s*[.,;:!?-])"),
    re.compile(r"\A\W*(yes)\b"),
    re.compile(rf"\banswer{_IS}\W*(yes|no)\b"),
    re.compile(r"[,:;-]\s*(?:(?:so|thus|therefore|hence)\s+)?(yes|no)\W*\Z"),
)

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+"
_NO_POWER = r"(?<![\w.^])(?<!\^[-+{(\s])(?<!\^[{(][-+])"
_POWER = r"\s*(?:[x\u00d7\u00b7*]\s*10\s*)?\^"
_FIGURE = re.compile(
    rf"(?P<sign>(?<![\w.)])[-+]\s?)?{_NO_POWER}"
    rf"(?>(?:(?P<whole>\d+)\s+)?(?P<over>\d+)\s*/\s*(?P<under>\d+)(?![\d/])|(?P<plain>{_DIGITS}))"
    rf"(?!{_POWER}|(?:st|nd|rd|th)\b)(?P<percent>\s*(?:%|percent\b))?"
)
_EQUALS = re.compile(
    rf"(?i:\banswer{_IS}|=|≈)\s*(?i:(?:about|around|roughly|approximately|exactly)\s+)?[€£]?\s*"
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number as it was said."""

    value: float
    is_percent: bool

    def is_right(self, right: Number) -> bool:
        """Whether it is near enough; a percentage may be meant as its hundredth, too."""
        values = (self.value, self.value / 100.0) if self.is_percent else (self.value,)
        return any(abs(value - right.value) <= right.tolerance for value in values)

    def __str__(self) -> str:
        return f"{self.value:.15g}{'%' if self.is_percent else ''}"


def named_labels(sample: Sample, text: str, called: Sequence[str]) -> frozenset[str]:
    """The labels of the options that the text gives as its answer.

    They may be letters beyond the sample's own, which no option has.

    Args:
        sample: What was asked.
        text: What was said.
        called: What the options were called: `sample.labels`, or numbers.
    """
    find = _yes_no if sample.is_yes_no else _letters
    finals = (_relabelled(said, called, sample.labels) for said in _finals(text))
    return frozenset(label for said in finals for label in find(said, sample.options))


def _relabelled(said: str, called: Sequence[str], labels: Sequence[str]) -> str:
    """Numbers that stand as names of options, as the letters that these are here."""
    letters = {
        number: letter for number, letter in zip(called, labels, strict=True) if number != letter
    }
    return _NUMBERED.sub(lambda m: m[1] + letters.get(m[2], m[2]), said) if letters else said


def named_figures(text: str) -> frozenset[Figure]:
    """The different numbers that the text gives as its answer."""
    return frozenset(figure for said in _finals(text) for figure in _figures(said))


def _finals(text: str) -> list[str]:
    """What is said once thinking is over; of framed answers only those."""
    said = _THOUGHT_START.sub("", _THOUGHT_END.sub("", _THOUGHT.sub("", _plain(text))))
    framed = [answer or boxed for answer, boxed in _FRAMED.findall(said)]
    return [_MARKUP.sub("", one).strip() for one in framed or [said]]


def _plain(text: str) -> str:
    """Full-width forms, quotes, dashes, fractions and powers as ASCII has them."""
    spaced = _RAISED.sub(r"^\g<0>", _VULGAR.sub(r" \g<0>", text))
    return unicodedata.normalize("NFKC", spaced).translate(_ASCII)


def _letters(said: str, options: tuple[str, ...]) -> frozenset[str]:
    if whole := _whole(said, options):
        return whole
    declared, leading = _declared(said, options), _leading(said, options)
    if declared:
        return declared | (leading if _asserts(said, options) else frozenset())
    standing = _standing(said)
    if not leading and len(standing) < 2 and (last := _TRAILING.search(said)):
        return _standing(last[1])
    return leading or (standing if len(standing) > 1 else frozenset())


def _whole(said: str, options: tuple[str, ...]) -> frozenset[str]:
    """All that is said is a letter, or the text of an option."""
    alone = _ALONE.fullmatch(said)
    return frozenset([alone[1].upper()] if alone else ()) | _of_text(said, options)


def _declared(said: str, options: tuple[str, ...]) -> frozenset[str]:
    """What is called the answer, its text too where that is another option's."""
    tails = [m[1] for m in _DECLARED_TEXT.finditer(said)]
    if texts := frozenset[str]().union(*(_of_text(tail, options) for tail in tails)):
        return texts
    runs = (_standing(m[1]) for pattern in _DECLARED for m in pattern.finditer(said))
    small = ((m[1] or m[2]).upper() for m in _DECLARED_SMALL.finditer(said))
    return frozenset(small).union(*runs, *(_leading(tail, options) for tail in tails))


def _leading(said: str, options: tuple[str, ...]) -> frozenset[str]:
    """The letter that the text begins with, and what contradicts it."""
    listed = frozenset(_LISTED.findall(said))
    if len(listed) > 1:
        return listed
    for pattern in (_LEADING, _LEADING_SMALL):
        if found := pattern.match(said):
            own = frozenset(label.upper() for label in _standing(found[1].upper()))
            return own | _of_text(found[found.re.groups], options)
    return frozenset()


def _asserts(said: str, options: tuple[str, ...]) -> bool:
    """Whether the first line is a letter alone, or one with its option's text."""
    first = said.partition("\n")[0]
    return len(_LISTED.findall(said)) < 2 and bool(
        _ALONE.fullmatch(first)
        or ((m := _LEADING.match(first)) and _of_text(m[m.re.groups], options))
    )


def _standing(said: str) -> frozenset[str]:
    """Every letter that stands by itself."""
    return frozenset(m[1] for m in _STANDING.finditer(said))


def _of_text(said: str, options: Iterable[str]) -> frozenset[str]:
    """The letters of all options whose text this is."""
    text = _bare(said)
    return frozenset(
        letter for letter, option in zip(LETTERS, options, strict=False) if _bare(option) == text
    )


def _bare(text: str) -> str:
    plain = _MARKUP.sub("", _plain(text)).casefold()
    return " ".join(plain.lstrip(_OPENING).rstrip(_CLOSING).split()) or plain.strip()


def _yes_no(said: str, _options: tuple[str, ...]) -> frozenset[str]:
    plain = said.lower()
    if _YES_NO_BOTH.search(plain):
        return frozenset(YES_NO)
    return frozenset(m[1] for pattern in _YES_NO for m in pattern.finditer(plain))


def _figures(said: str) -> Iterator[Figure]:
    declared = [m for e in _EQUALS.finditer(said) if (m := _FIGURE.match(said, e.end()))]
    if found := declared or list(_FIGURE.finditer(said)):
        yield from map(_figure, found)
    elif (word := _bare(said)) in NUMBER_WORDS:
        yield Figure(float(NUMBER_WORDS.index(word)), is_percent=False)


def _figure(found: re.Match[str]) -> Figure:
    if found["plain"]:
        value = float(found["plain"].replace(",", ""))
    else:
        under = float(found["under"])
        value = float(found["over"]) / under if under else float("nan")
    value += float(found["whole"] or 0.0)
    sign = -1.0 if (found["sign"] or "").startswith("-") else 1.0
    return Figure(sign * value, found["percent"] is not None)
