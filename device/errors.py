"""The one exception that reaches a person."""


class TetradError(Exception):
    """Bad input or a failed job, as one line: what is wrong, with which file, and what to do about it.

    `tetrad` prints the line and exits with 1.
    """
