"""What an embedding knows of pitch: how well a line reads it, and how alike an instrument's pitches are.

After the paper's section 4.3 (arXiv 1704.01279): a linear classifier of pitch from embeddings, by models with and
without pitch beside them, and the correlation of an instrument's embeddings across its pitches.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from device import files
from train.notes import Note

MOST_ITERATIONS = 1000


def read_pitches(embeddings: np.ndarray, pitches: Sequence[int], unseen: np.ndarray) -> np.ndarray:
    """Multinomial logistic regression: learned from embeddings [N, d] and MIDI pitches [N], the pitches of [M, d]."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=MOST_ITERATIONS))
    probe.fit(embeddings, np.asarray(pitches))
    return np.asarray(probe.predict(unseen))


def correlations(embeddings: np.ndarray, notes: Sequence[Note]) -> tuple[list[int], dict[str, np.ndarray]]:
    """Pearson's r between an instrument's embeddings [n, frames, 16] at each two of its pitches.

    Returns the pitches that any has, ascending, and [pitches, pitches] for each instrument, NaN where it has none. Of
    several velocities the loudest counts.
    """
    pitches = sorted({note.pitch for note in notes})
    place = {pitch: i for i, pitch in enumerate(pitches)}
    chosen: dict[str, dict[int, int]] = {}
    for i in sorted(range(len(notes)), key=lambda i: notes[i].velocity):
        chosen.setdefault(notes[i].instrument_str, {})[notes[i].pitch] = i
    matrices = {}
    for name, by_pitch in sorted(chosen.items()):
        there = [place[pitch] for pitch in by_pitch]
        matrix = np.full((len(pitches), len(pitches)), np.nan)
        vectors = embeddings[list(by_pitch.values())].reshape(len(there), -1)
        matrix[np.ix_(there, there)] = np.corrcoef(vectors)
        matrices[name] = matrix
    return pitches, matrices


def draw_correlations(pitches: Sequence[int], matrices: dict[str, np.ndarray], mean: np.ndarray, picture: Path) -> None:
    """The three instruments with the most pitches, each of another family, and the mean over all, as PNG."""
    def family(name: str) -> str:
        return name.rsplit("_", 2)[0]

    ranked = sorted(matrices, key=lambda name: (-np.isfinite(matrices[name]).sum(), name))
    first_of_family = [name for i, name in enumerate(ranked) if family(name) not in map(family, ranked[:i])]
    shown = {name: matrices[name] for name in first_of_family[:3]} | {f"mean of {len(matrices)} instruments": mean}
    matplotlib.use("Agg")
    figure, axes = plt.subplots(1, len(shown), figsize=(3.4 * len(shown), 3.6), layout="constrained", squeeze=False)
    for axis, (name, matrix) in zip(axes[0], shown.items(), strict=True):
        image = axis.pcolormesh(pitches, pitches, matrix, vmin=-1, vmax=1, cmap="RdBu_r", shading="nearest")
        axis.set(title=name, xlabel="MIDI pitch", aspect="equal")
    axes[0, 0].set_ylabel("MIDI pitch")
    figure.colorbar(image, ax=axes, label="correlation of embeddings")
    with files.atomic(picture) as file:
        figure.savefig(file, dpi=100, format="png", bbox_inches="tight")
    plt.close(figure)
