"""The carrier board as a KiCad project, generated from the tables of parts and cables: `python -m enclosure.board`."""

VERSION = "1"  # printed on the board
