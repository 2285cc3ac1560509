"""Designs the filters of resampler.c that double a sound's rate: `python -m device.engine.doubling_filters` writes
doubling_filters.h beside it.

Least squares, weighted anew until all weighted ripples are of one height (C. L. Lawson, "Contributions to the theory of
linear least maximum approximation", 1961): 56 taps at the bank's rate do what takes 76 under Kaiser's window. Passbands
make good what the reading kernel behind them takes away.
"""

from pathlib import Path

import numpy as np

HEADER = Path(__file__).with_suffix(".h")
TAPS = 56  # at the bank's rate, to either of two outputs
CUTOFFS, CUTOFFS_AN_OCTAVE = 9, 4  # for transpositions that would alias
TRANSITION = 1 / 16  # from passband to stopband in cycles a bank sample: 7 to 8 kHz where nothing is transposed
# Of a ripple, against one at the passband's edge: -82 dB; below 0.06 dB where it is far; 0.3 dB at the edge.
STOP_WEIGHT, LOW_WEIGHT = 400, 40
FAR = 0.11  # from the edge, in cycles a doubled sample
ITERATIONS = 80

# Of resampler.c.
READ_TAPS, READING_CUTOFF, READING_BETA = 8, 0.37, 9.5


def reading_gain(f: np.ndarray) -> np.ndarray:
    """What the reading kernel leaves of tones of f cycles a doubled sample: its Fourier integral."""
    t = np.linspace(-READ_TAPS / 2, READ_TAPS / 2, 2_049)
    window = np.i0(READING_BETA * np.sqrt(1 - (2 * t / READ_TAPS) ** 2)) / np.i0(READING_BETA)
    kernel = 2 * READING_CUTOFF * np.sinc(2 * READING_CUTOFF * t) * window
    kernel[[0, -1]] /= 2  # the trapezoidal rule
    return kernel @ np.cos(2 * np.pi * np.outer(t, f)) * (t[1] - t[0])


def design(passband: float, stopband: float) -> np.ndarray:
    """A symmetric filter of 2 TAPS - 1 taps, its edges in cycles a doubled sample."""
    low, high = np.linspace(0, passband, 400), np.linspace(stopband, 0.5, 600)
    wanted = np.concatenate([2 / reading_gain(low), np.zeros(high.size)])
    passed = np.interp(low, [passband - FAR, passband], [LOW_WEIGHT, 1])
    weights = np.concatenate([passed, np.full(high.size, STOP_WEIGHT)])
    cosines = np.cos(2 * np.pi * np.outer(np.concatenate([low, high]), np.arange(TAPS)))
    cosines[:, 1:] *= 2
    emphasis = np.ones(wanted.size)
    for _ in range(ITERATIONS):
        scale = np.sqrt(emphasis) * weights
        half = np.linalg.lstsq(cosines * scale[:, None], wanted * scale, rcond=None)[0]
        error = np.abs(cosines @ half - wanted) * weights
        emphasis *= (error / error.max() + 1e-9) ** 0.6
        emphasis /= emphasis.mean()
    taps = np.concatenate([half[:0:-1], half])
    return taps * 2 / (taps.sum() * reading_gain(np.zeros(1)))  # what does not move is exact


def filters() -> np.ndarray:
    """[cutoff][on a sample, between it and the next][tap]"""
    out = np.zeros((CUTOFFS, 2, TAPS))
    for cutoff in range(CUTOFFS):
        stopband = 0.25 / 2 ** (cutoff / CUTOFFS_AN_OCTAVE)
        taps = design(stopband - TRANSITION / 2, stopband)
        out[cutoff, 0, :-1] = taps[1::2]
        out[cutoff, 1] = taps[::2]
    return out


def header() -> str:
    def row(taps: np.ndarray) -> str:
        numbers = [f"{tap:.8e}f" for tap in taps]
        return "{" + ",\n    ".join(", ".join(numbers[n : n + 6]) for n in range(0, TAPS, 6)) + "}"

    sets = ",\n".join(f"  {{{row(on)},\n   {row(between)}}}" for on, between in filters())
    return f"""/* Written by doubling_filters.py. [cutoff][on a sample, between it and the next][tap] */
#ifndef TETRAD_DOUBLING_FILTERS_H
#define TETRAD_DOUBLING_FILTERS_H

#include "kernels.h"

#define RESAMPLER_CUTOFFS {CUTOFFS}
#define RESAMPLER_CUTOFFS_AN_OCTAVE {CUTOFFS_AN_OCTAVE}

static const float DOUBLING_FILTERS[RESAMPLER_CUTOFFS][2][KERNEL_TAPS] = {{
{sets}
}};

#endif
"""


if __name__ == "__main__":
    HEADER.write_text(header())
