"""The letters of the panel: DejaVu Sans Bold, which Matplotlib brings along, so that they are the same everywhere."""

from pathlib import Path

import matplotlib

FONT = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
CAPITAL = 0.729  # a capital letter's height, of the font's size
