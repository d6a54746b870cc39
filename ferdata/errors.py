"""The one exception that bad data raises."""


class DataError(ValueError):
    """Bad input: the message says what was wrong, in which file and row, and what was expected."""
