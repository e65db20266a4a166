"""Options that stand inside a question's own text."""

import re

from merit_opt.data.sample import LETTERS

_MARK = re.compile(r"^[ \t]*\(?([A-Z])[.):](?=\s|$)", re.MULTILINE)


def inline_options(text: str) -> tuple[str, tuple[str, ...]]:
    r"""``Which?\nA. Red.\nB. Blue.\nAnswer …`` -> ``Which?`` and the two options.

    Only lines whose letters follow one another from A on are options. What stands on lines of its
    own after the last option is an instruction, and dropped.
    """
    marks: list[re.Match[str]] = []
    for mark in _MARK.finditer(text):
        if mark[1] == LETTERS[len(marks) % len(LETTERS)]:
            marks.append(mark)
    if not marks:
        return text.strip(), ()
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    options = [text[mark.end() : end].strip() for mark, end in zip(marks, ends, strict=True)]
    options[-1] = options[-1].partition("\n")[0].strip()
    return text[: marks[0].start()].strip(), tuple(options)
