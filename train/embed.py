"""Sounds to embeddings: recordings of up to ten minutes, and whole datasets, by the shipped encoder or a run's."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from device import console, files, jobs
from device.corner import RECORDINGS
from device.encoder import Encoder
from device.errors import TetradError
from device.preset import FRAMES
from device.recording import NOTE_PEAK, as_note, as_sound, load_recording
from train.notes import Jsonwav, Note, audio_path, read_audio

CHUNK_SOUNDS = 32  # a third of a second's work for a core, where they are notes
WINDOW_FRAMES = 500  # 16 s of a long sound at a time: of `nsynth`, 128 channels of samples are 128 MB


class Sound(NamedTuple):
    """One thing to be embedded."""

    name: str  # of the embedding; of a dataset's note, its note_str
    path: Path  # a recording, or the dataset that the note is in
    kind: str  # "recording", "jsonwav" or "tfrecord"
    stamp: str  # of the file's making: a changed file is embedded again


class SoundEncoder(Protocol):
    """From a sound to its embedding."""

    id: str

    def embed_whole(self, audio: np.ndarray) -> np.ndarray:
        """float32 [samples] -> float32 [ceil(samples / 512), 16]"""
        ...


class RunEncoder:
    """The encoder of a run of `tetrad train autoencoder` or `tetrad train student`, or of an imported checkpoint."""

    def __init__(self, run: Path) -> None:
        from train.sampler import load_teacher  # takes TensorFlow, which the shipped encoder does without

        autoencoder = load_teacher(run, plays=False)
        self._config, self._encoder = autoencoder.config, autoencoder.encoder
        self.id = jobs.digest_of(run / "config.json", run / "encoder.weights.h5")

    def embed_whole(self, audio: np.ndarray) -> np.ndarray:
        """As device.encoder.Encoder's: float32 [samples] -> embedding float32 [ceil(samples / 512), 16]."""
        from keras import ops

        from device.encoder import in_windows
        from train.crops import encoder_frames

        def embed(inputs: np.ndarray) -> np.ndarray:
            return np.asarray(ops.convert_to_numpy(self._encoder(inputs[None])))[0]

        hop = self._config.hop_samples
        frames = -(-len(audio) // hop)
        padded = np.pad(audio, (0, max(frames, FRAMES) * hop - len(audio)))
        inputs = encoder_frames(self._config, padded)
        margin = -(-reach_samples(self._config) // hop)
        return in_windows(embed, inputs, len(padded) // hop, max(WINDOW_FRAMES, 4 * margin), margin)[:frames]


def reach_samples(config: Any) -> int:
    """How far on either side of a step of its input the encoder of a train.wavenet.Config hears: 3,070 samples for
    `nsynth`, 7 spectra of 256 samples for `small`. A convolution of 3 taps adds its dilation."""
    dilations = [2 ** (i % config.encoder_cycle) for i in range(config.encoder_layers)]
    return int((1 + sum(dilations)) * config.encoder_step_samples)


@lru_cache(maxsize=1)
def open_encoder(encoder: Path | None, run: Path | None) -> SoundEncoder:
    """The encoder of a run, of a LiteRT file, or the shipped one; loaded once in a process."""
    return RunEncoder(run) if run is not None else Encoder(encoder)


@lru_cache(maxsize=1)
def open_tfrecord(path: Path) -> Any:
    from train.indexed import IndexedTfrecord

    return IndexedTfrecord(path)


def sounds_at(path: Path) -> Iterator[Sound]:
    """What there is to embed at a path: a recording, a folder of them, or a dataset of notes in either format."""
    if (path / "examples.json").is_file():
        yield from (sound_of(path, note) for note in Jsonwav(path).notes)
    elif path.suffix.lower() == ".tfrecord":
        yield from (sound_of(path, note) for note in open_tfrecord(path).notes)
    elif path.is_dir():
        found = sorted(file for file in path.iterdir()
                       if file.suffix.lower() in RECORDINGS and not file.name.startswith("."))
        if not found:
            raise TetradError(f"{path} has no recordings: give a folder with WAV, FLAC or AIFF files, or an NSynth one")
        for file in found:
            yield Sound(file.stem, file, "recording", files.stamp(file))
    else:
        yield Sound(path.stem, path, "recording", files.stamp(path))


def sound_of(path: Path, note: Note) -> Sound:
    """A note of the jsonwav folder or TFRecord at a path."""
    if path.is_dir():
        return Sound(note.note_str, path, "jsonwav", files.stamp(audio_path(path, note.note_str)))
    return Sound(note.note_str, path, "tfrecord", files.stamp(path))


def audio_of(sound: Sound, as_notes: bool) -> np.ndarray:
    """float32 [samples] at 16 kHz, peak NOTE_PEAK. Raises TetradError naming the file that cannot be used."""
    if sound.kind == "recording":
        return (as_note if as_notes else as_sound)(load_recording(sound.path))
    if sound.kind == "tfrecord":
        audio = open_tfrecord(sound.path).audio(sound.name)
    else:
        audio = read_audio(audio_path(sound.path, sound.name))
    return (audio * (NOTE_PEAK / max(float(np.abs(audio).max()), 1e-4))).astype(np.float32)  # as in training


def embed_chunk(encoder: Path | None, run: Path | None, id: str, as_notes: bool, sounds: Sequence[Sound]) -> bytes:
    """The embeddings of some sounds by the encoder of this id, as `jobs.pack` makes bytes of them."""
    opened = open_encoder(encoder, run)
    if opened.id != id:
        raise TetradError(f"the encoder {run or encoder or ''} is another one here: give all machines the same files")
    return jobs.pack(opened.embed_whole(audio_of(sound, as_notes)) for sound in sounds)


def embed_all(sounds: Sequence[Sound], out: Path, encoder: Path | None, run: Path | None, as_notes: bool,
              cluster: jobs.Cluster) -> None:
    """Writes `out`/<name>.npy, float32 [frames, 16], for each sound, when all are embedded. Stopped, it goes on."""
    files.refuse_twins([sound.name for sound in sounds], "sounds")
    encoder, run = (path and path.resolve() for path in (encoder, run))
    id = open_encoder(encoder, run).id
    embedded = jobs.arrays(partial(embed_chunk, encoder, run, id, as_notes), sounds, out, chunk_items=CHUNK_SOUNDS,
                           cluster=cluster, description="embedding", key=f"embed {id} {as_notes}")
    for sound, embedding in embedded:
        files.make_folder(out)
        with files.atomic(out / f"{sound.name}.npy", durable=False) as file:
            np.save(file, embedding)


def embed_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("sounds", nargs="+", type=Path, metavar="PATH",
                        help="recordings of up to ten minutes, folders of them, NSynth folders, .tfrecord files")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="folder for DIR/<name>.npy, float32 [frames of 32 ms, 16] each")
    parser.add_argument("--as-notes", action="store_true",
                        help="cut each recording to a note of 4 s from its onset, as a preset's corner takes it")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--encoder", type=Path, help="encoder.tflite of one's own instead of the shipped one")
    which.add_argument("--run", type=Path, help="run of an autoencoder or a student, whose encoder is taken")
    jobs.add_options(parser)
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        sounds = [sound for path in args.sounds for sound in sounds_at(path.resolve())]
        with jobs.cluster_of(args) as cluster:
            embed_all(sounds, args.out, args.encoder, args.run, args.as_notes, cluster)
        console.report(args, {"embeddings": len(sounds), "folder": str(args.out)})

    return run
