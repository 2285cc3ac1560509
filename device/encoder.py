"""One's own sounds to embeddings: the teacher's encoder as a float LiteRT file, run on a whole note."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np

from device import console, files, litert
from device.corner import embed_file
from device.errors import TetradError
from device.preset import DIMENSIONS, FRAMES, NOTE_SAMPLES
from device.spectrum import BINS, STEP_SAMPLES, log_spectrum

FACTORY_ENCODER = Path(__file__).parent / "factory" / "encoder.tflite"


class Encoder:
    """The encoder of one file; the shipped one unless a path is given."""

    def __init__(self, path: Path | None = None) -> None:
        model = litert.Model(path or FACTORY_ENCODER, (1, NOTE_SAMPLES // STEP_SAMPLES, BINS), (1, FRAMES, DIMENSIONS))
        if model.is_quantized:
            raise TetradError(f"{model.path}: its input is int8, an encoder's is float; is it a decoder?")
        self._model = model
        self.id = model.id

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """A note as `device.recording.as_note` gives it, float32 [64000] -> embedding float32 [125, 16]."""
        return self._model.run(log_spectrum(audio)[None])[0].copy()


def embed_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("recordings", nargs="+", type=Path, metavar="WAV", help="recordings of single notes")
    parser.add_argument("--out", type=Path, required=True, help="folder for DIR/<name>.npy, float32 [125, 16] each")
    parser.add_argument("--encoder", type=Path, help="encoder.tflite of one's own instead of the shipped one")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        encoder = Encoder(args.encoder)
        names = [path.stem for path in args.recordings]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TetradError(f"two recordings are called {twice[0]}: rename one, or embed them to another folder")
        embeddings = []
        with console.progress("embedding", len(names)) as bar:
            for path in args.recordings:
                embeddings.append(embed_file(path, encoder))
                bar.advance()
        files.make_folder(args.out)  # now that all recordings are known to be good
        for name, embedding in zip(names, embeddings, strict=True):
            with files.atomic(args.out / f"{name}.npy") as file:
                np.save(file, embedding)
        console.report(args, {"embeddings": len(names), "folder": str(args.out)})

    return run
