"""YAML from strangers: plain data of bounded size, with errors that name the place."""

import yaml

from merit_opt.errors import UserError

_MOST_CHARACTERS = 1_000_000
_LONGEST_PLAIN_VALUE = 1000
_DEEPEST = 16


def load_plain(text: str) -> object:
    """The value of a YAML document.

    Raises:
        UserError: It is no YAML, uses tags, anchors or aliases, or is larger than any such file.
    """
    if len(text) > _MOST_CHARACTERS:
        raise UserError(
            f"a mergekit file has at most {_MOST_CHARACTERS} characters, got {len(text)}"
        )
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            _check_event(event, depth)
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"a mergekit file is YAML, but {line}{error.problem}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets the errors of int() and datetime() through.
        reason = str(error).partition("\n")[0]
        raise UserError(f"a mergekit file is YAML, but a value cannot be read: {reason}") from None


def _check_event(event: yaml.Event, depth: int) -> None:
    line = f"line {event.start_mark.line + 1}" if event.start_mark else "the file"
    if getattr(event, "anchor", None) is not None:
        raise UserError(f"{line}: anchors and aliases are not read; write the value out")
    if getattr(event, "tag", None) is not None:
        raise UserError(f"{line}: tags such as !!int are not read; write the value alone")
    if depth > _DEEPEST:
        raise UserError(f"{line}: nested deeper than any mergekit file ({_DEEPEST} levels)")
    if isinstance(event, yaml.ScalarEvent) and _is_long(event):
        raise UserError(f"{line}: a value of more than {_LONGEST_PLAIN_VALUE} characters")


def _is_long(event: yaml.ScalarEvent) -> bool:
    """Whether a value without quotes, which may be a number, is longer than any number is."""
    return not event.style and len(event.value) > _LONGEST_PLAIN_VALUE


def shown(value: object) -> str:
    """The beginning of a value, for a message."""
    return repr(value)[:80]


def record_of(
    value: object, place: str, required: set[str], optional: set[str]
) -> dict[str, object]:
    """The fields of a mapping that are not null.

    Raises:
        UserError: `value` is no mapping, lacks a required field or has one that is not known.
    """
    where = f"{place}: " if place else "a mergekit file: "
    if not isinstance(value, dict):
        known = ", ".join(sorted(required | optional))
        raise UserError(f"{where}expected a mapping with {known}, got {shown(value)}")
    fields: dict[str, object] = {k: v for k, v in value.items() if v is not None}
    unknown = [key for key in value if key not in required | optional]
    if unknown:
        known = ", ".join(sorted(required | optional))
        raise UserError(f"{where}this reads {known}; got {shown(unknown[0])}")
    missing = sorted(required - fields.keys())
    if missing:
        raise UserError(f"{where}{missing[0]} is missing")
    return fields


def entries_of(value: object, place: str) -> list[object]:
    """The entries of a list that is not empty.

    Raises:
        UserError: `value` is no such list.
    """
    if not isinstance(value, list) or not value:
        raise UserError(f"{place}: expected a list with at least one entry, got {shown(value)}")
    return value
