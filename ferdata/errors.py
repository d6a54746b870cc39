"""The one exception that bad data raises."""

_MOST_CHARACTERS = 200


class DataError(ValueError):
    """Bad input: the message says what was wrong, in which file and row, and what was expected."""


def in_short(error: Exception) -> str:
    """What a library says is wrong with a file, in one line: it may quote the file at length."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."
