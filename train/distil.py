"""Distilling the student: from the teacher's embeddings to recordings, and to the teacher's own samples between them.

One encoder serves both. While the student learns, its loss and the teacher's cross-entropy train the encoder together
(`--encoder tuned`), so that one embedding goes on driving both decoders; `--encoder frozen` leaves encoder and teacher
as they were.
"""

import dataclasses
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops

from device import conditioning, console, files, synth
from device.errors import TetradError
from device.preset import HOP_SAMPLES, NOTE_SAMPLES, SAMPLE_RATE_HZ
from device.spectrum import STEP_SAMPLES
from train import mulaw
from train.autoencoder import config_of, load_autoencoder
from train.config import config_from
from train.crops import MARGIN_FRAMES, Batches, Crop, Notes, encoder_frames, spectrum_of
from train.notes import Note
from train.run import fit, keep_to_notes, load_weights, open_run, read_config
from train.sampler import generate
from train.student import StudentConfig, build_student, spectral_loss, synthesize
from train.wavenet import Config, WaveNetAutoencoder, cross_entropy

KIND = "student"
RMS_NOTES = 64  # from which the embedding's units are taken: RMS 1 each, so that int8 serves all of them alike
CALIBRATION_NOTES = 32  # of which `tetrad quantize` sees the activations
EDGE = MARGIN_FRAMES * conditioning.CONTROL_FRAMES


@dataclass(frozen=True)
class DistilConfig:
    """How a student is trained."""

    autoencoder: Config
    student: StudentConfig = dataclasses.field(default_factory=StudentConfig)
    encoder: str = "tuned"  # or "frozen"
    crop_samples: int = 8192
    batch: int = 8
    teacher_notes: int = 128  # that the teacher plays at embeddings half-way between two instruments
    teacher_samples: int = 2 * SAMPLE_RATE_HZ
    teacher_temperature: float = 0.7  # of its draws: under 1 it hisses less
    teacher_from: float = 0.7  # of the steps are done before it plays, for it is learning too
    teacher_share: float = 0.125  # of the crops that are teacher's samples
    teacher_crops: int = 2  # recordings a batch on which the teacher goes on learning; none where the encoder is frozen
    teacher_crop_samples: int = 3072
    teacher_weight: float = 0.3  # of its cross-entropy beside the student's loss
    jitter: float = 0.04  # RMS of noise on the embedding, as int8 brings: 4 / 127 a step
    embedding_reach: float = 4.0  # beyond which an embedding is pulled back, for int8 has to span it
    neighbour_share: float = 0.15  # of the crops whose embedding comes from the same instrument's next pitches
    learning_rates: tuple[tuple[int, float], ...] = ((0, 1e-3), (6000, 3e-4), (8500, 1e-4))
    average_decay: float = 0.998
    steps: int = 10_000


@dataclass(frozen=True)
class TeacherNotes:
    """What the teacher played between two notes: codes int16 (M, T), and of which notes, by index."""

    codes: np.ndarray
    pairs: np.ndarray  # (M, 2)


def play_teacher(autoencoder: WaveNetAutoencoder, notes: Notes, config: DistilConfig, seed: int = 0) -> TeacherNotes:
    """The teacher's samples at the middle between two instruments playing the same pitch at the same velocity."""
    random, pairs = np.random.default_rng(seed), list[tuple[int, int]]()
    alike = [group for group in notes.alike() if len(group) > 1]
    while len(pairs) < config.teacher_notes:
        i, j = random.choice(alike[random.integers(len(alike))], 2, replace=False)
        pairs.append((int(i), int(j)))
    embeddings = np.stack([(embed(autoencoder, notes.audio(notes.notes[i])) +
                            embed(autoencoder, notes.audio(notes.notes[j]))) / 2 for i, j in pairs])
    pitches = np.array([notes.notes[i].pitch for i, _ in pairs])
    with console.progress("the teacher plays", config.teacher_samples) as bar:
        codes = generate(autoencoder, embeddings, pitches, config.teacher_samples, seed, config.teacher_temperature,
                         bar.advance)
    return TeacherNotes(codes, np.array(pairs))


def embed(autoencoder: WaveNetAutoencoder, audio: np.ndarray) -> np.ndarray:
    """A whole note (T,) -> embedding (T / 512, 16)."""
    return ops.convert_to_numpy(autoencoder.encoder(encoder_frames(autoencoder.config, audio)[None]))[0]


class StudentCrops:
    """What StudentTrainer learns from.

    A crop's embedding is the mean of those of one or two spectra: its own; those of the pitches beside it, as when a
    preset is asked for a pitch between two that it holds; or those of the two instruments the teacher played between.
    """

    def __init__(self, notes: Notes, teacher_notes: TeacherNotes, config: DistilConfig) -> None:
        self.notes, self.config, self.teacher_notes = notes, config, teacher_notes

    def alone(self, random: np.random.Generator) -> tuple[Crop, list[np.ndarray]]:
        notes, samples = self.notes, self.config.crop_samples
        crop = notes.crop(notes.notes[random.integers(len(notes.notes))], notes.draw_start(samples, random), samples)
        return crop, [crop.spectrum]

    def recording(self, random: np.random.Generator) -> tuple[Crop, list[np.ndarray]]:
        notes, samples = self.notes, self.config.crop_samples
        crop, own = self.alone(random)
        if random.random() < self.config.neighbour_share:
            beside = notes.neighbours(crop.note)
            if beside:
                return crop, [notes.crop(notes.notes[i], crop.start, samples).spectrum for i in beside]
        return crop, own

    def between(self, random: np.random.Generator) -> tuple[Crop, list[np.ndarray]]:
        samples, teacher = self.config.crop_samples, self.teacher_notes
        m = random.integers(len(teacher.codes))
        latest = (teacher.codes.shape[1] - samples) // HOP_SAMPLES
        start = int(random.integers(0, latest + 1)) * HOP_SAMPLES
        pair: list[Note] = [self.notes.notes[i] for i in teacher.pairs[m]]
        audio = mulaw.decode(teacher.codes[m, start : start + samples])
        spectra = [spectrum_of(self.notes.audio(note), start, samples) for note in pair]
        return Crop(pair[0], start, audio, spectra[0]), spectra

    def batch(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        config = self.config
        drawn: list[tuple[Crop, list[np.ndarray]]] = []
        for i in range(config.batch):
            taught = i >= config.teacher_crops and len(self.teacher_notes.codes) > 0
            share = config.teacher_share * config.batch / max(1, config.batch - config.teacher_crops)
            crop, spectra = self.between(random) if taught and random.random() < share else self.recording(random)
            if sum(len(s) for _, s in drawn) + len(spectra) > i + 1 + config.batch // 2:
                crop, spectra = self.alone(random)  # no place for another pair
            drawn.append((crop, spectra))
        return student_inputs(config, drawn, random)


def student_inputs(config: DistilConfig, drawn: list[tuple[Crop, list[np.ndarray]]], random: np.random.Generator,
                   ) -> dict[str, np.ndarray]:
    crops = [crop for crop, _ in drawn]
    pitches = [crop.note.pitch for crop in crops]
    frames = config.crop_samples // synth.FRAME_SAMPLES + 2 * EDGE  # control frames, margins included
    first = np.array([crop.start // synth.FRAME_SAMPLES - EDGE for crop in crops])
    at = first[:, None] + np.arange(frames)
    noise = random.standard_normal((len(crops), config.crop_samples), np.float32) * synth.NOISE_RMS
    shaped = np.stack([synth.noise_spectra(n) for n in noise])  # (B, F + 1, BANDS)
    heard = [spectrum for _, spectra in drawn for spectrum in spectra]
    spare = config.batch + config.batch // 2 - len(heard)  # the number is fixed, as graphs want it
    codes = mulaw.encode(np.stack([c.audio[: config.teacher_crop_samples] for c in crops[: config.teacher_crops]]))
    return {
        "spectra": np.stack(heard + [np.zeros_like(heard[0])] * spare),
        "mix": np.pad(mixing([len(s) for _, s in drawn]), [(0, 0), (0, spare)]),
        "hats": np.stack([conditioning.hats(p) for p in pitches]),
        "inside": ((at >= 0) & (at < NOTE_SAMPLES // synth.FRAME_SAMPLES)).astype(np.float32),
        "turns": np.stack([synth.turns(c.note.pitch, c.start, config.crop_samples) for c in crops]),
        "audible": np.stack([synth.audible(p) for p in pitches]),
        "noise_real": shaped.real, "noise_imag": shaped.imag,
        "jitter": config.jitter * random.standard_normal((len(crops), spectra_frames(config), 16), np.float32),
        "audio": np.stack([crop.audio for crop in crops]),
        "codes": codes.astype(np.int32), "pitch": np.array(pitches[: config.teacher_crops], np.int32),
    }


def spectra_frames(config: DistilConfig) -> int:
    """Embedding frames of a crop, margins included."""
    return config.crop_samples // HOP_SAMPLES + 2 * MARGIN_FRAMES


def mixing(counts: list[int]) -> np.ndarray:
    """(B, sum of counts): row i averages the counts[i] embeddings of crop i."""
    mix = np.zeros((len(counts), sum(counts)), np.float32)
    end = np.cumsum(counts)
    for row, (count, stop) in enumerate(zip(counts, end, strict=True)):
        mix[row, stop - count : stop] = 1 / count
    return mix


class StudentTrainer(keras.Model):
    """Its output is its loss, (B,): the student's on every crop, the teacher's cross-entropy on the first few."""

    def __init__(self, autoencoder: WaveNetAutoencoder, student: keras.Model, config: DistilConfig) -> None:
        super().__init__()
        self.autoencoder, self.config = autoencoder, config
        self.encoder, self.student = autoencoder.encoder, student
        self.tuned = config.encoder == "tuned" and config.teacher_crops > 0
        if self.tuned:
            self.decoder = autoencoder.decoder
        else:
            self.encoder.trainable = False
        self.upsampling = conditioning.upsampling(spectra_frames(config))

    def call(self, inputs: dict[str, keras.KerasTensor]) -> keras.KerasTensor:
        each = self.encoder(inputs["spectra"])  # (spectra, frames, 16)
        mixed = ops.einsum("bn,nfd->bfd", inputs["mix"], each)
        z = ops.matmul(self.upsampling, mixed + inputs["jitter"])  # (B, control frames, 16)
        hats = inputs["hats"][:, None, :] + ops.zeros_like(z[..., :1])
        x = ops.concatenate([z, hats], axis=-1) * inputs["inside"][..., None]
        controls = self.student(x[:, None])[:, 0, EDGE : 1 - EDGE]  # (B, F + 1, CONTROLS)
        audio = synthesize(controls, inputs["turns"], inputs["audible"], inputs["noise_real"], inputs["noise_imag"])
        loss = spectral_loss(audio, inputs["audio"])
        if not self.tuned:
            return loss
        excess = ops.relu(ops.abs(mixed) - self.config.embedding_reach)
        return loss + ops.mean(ops.square(excess)) + self.teacher_loss(inputs, mixed)

    def teacher_loss(self, inputs: dict[str, keras.KerasTensor], mixed: keras.KerasTensor) -> keras.KerasTensor:
        config = self.config
        frames = config.teacher_crop_samples // HOP_SAMPLES
        embedding = mixed[: config.teacher_crops, MARGIN_FRAMES : MARGIN_FRAMES + frames]
        samples = ops.cast(inputs["codes"], "float32")[..., None] / 128
        logits = self.autoencoder.logits(samples, embedding, inputs["pitch"])
        return config.teacher_weight * ops.mean(cross_entropy(inputs["codes"], logits))


def train_student(notes: Notes, teacher: Path, config: DistilConfig, run: Path, seed: int = 0) -> None:
    """First on recordings alone; then, where it is to play, on what the teacher has learned to play meanwhile."""
    if config.autoencoder.encoder_input != "spectrum":
        raise TetradError(f"{teacher}: its encoder hears samples; the student learns from one that hears spectra, "
                          "as `--config small` has")
    if config.teacher_notes and all(len(group) < 2 for group in notes.alike()):
        raise TetradError(f"{notes.source.path}: no two instruments play the same pitch at the same velocity, so "
                          "the teacher has nothing to play between; give --teacher-notes 0")
    open_run(run, config, KIND)
    keep_to_notes(run, [note.note_str for note in notes.notes])
    keras.utils.set_random_seed(seed)
    autoencoder = load_autoencoder(teacher)
    autoencoder.rescale_embedding(embedding_rms(autoencoder, notes, seed))
    student = build_student(config.student)
    parts = {"encoder": autoencoder.encoder, "decoder": autoencoder.decoder, "student": student}
    trainer = StudentTrainer(autoencoder, student, config)

    def train(played: TeacherNotes, steps: int) -> None:
        batches = Batches(StudentCrops(notes, played, config).batch, config.batch, seed, steps)
        fit(trainer, batches, run, parts, steps, config.learning_rates, config.average_decay)

    none = TeacherNotes(np.zeros((0, 0), np.int16), np.zeros((0, 2), np.int64))
    if config.teacher_notes:
        train(none, int(config.teacher_from * config.steps))
    train(played_notes(notes, config, run) if config.teacher_notes else none, config.steps)
    save_calibration(notes, run, seed)


def embedding_rms(autoencoder: WaveNetAutoencoder, notes: Notes, seed: int) -> np.ndarray:
    """(16,) RMS of each of the embedding's numbers, over some notes."""
    picked = np.random.default_rng(seed).integers(0, len(notes.notes), RMS_NOTES)
    embeddings = np.stack([embed(autoencoder, notes.audio(notes.notes[i])) for i in picked])
    return np.sqrt(np.mean(embeddings**2, axis=(0, 1)))


def played_notes(notes: Notes, config: DistilConfig, run: Path) -> TeacherNotes:
    """The teacher's notes of a run, played once, with the averages of what the run's weights are by then."""
    path = run / "teacher_notes.npz"
    if not path.exists():
        played = play_teacher(load_trained(run).autoencoder, notes, config)
        with files.atomic(path) as file:
            np.savez(file, codes=played.codes, pairs=played.pairs)
    with np.load(path) as arrays:
        return TeacherNotes(arrays["codes"], arrays["pairs"])


def save_calibration(notes: Notes, run: Path, seed: int) -> None:
    """`calibration.npy`: inputs of whole notes, float16, for the ranges that `tetrad quantize` has to measure."""
    autoencoder, random = load_trained(run).autoencoder, np.random.default_rng(seed)
    picked = random.choice(len(notes.notes), min(CALIBRATION_NOTES, len(notes.notes)), replace=False)
    tensors = [conditioning.to_tensors(conditioning.channels(embed(autoencoder, notes.audio(note)), note.pitch))
               for note in (notes.notes[i] for i in picked)]
    with files.atomic(run / "calibration.npy") as file:
        np.save(file, np.concatenate(tensors).astype(np.float16))


@dataclass(frozen=True)
class Trained:
    """What a student's run holds, with the moving averages of its weights."""

    autoencoder: WaveNetAutoencoder
    student: keras.Model  # of any number of rows and columns


def distil_config(run: Path) -> DistilConfig:
    fields = read_config(run)
    if fields.pop("kind", None) != KIND:
        raise TetradError(f"{run}: not a run of a student; give the folder `tetrad train student` wrote")
    try:
        autoencoder = config_from(fields.pop("autoencoder"), f"{run}/config.json")
        student = StudentConfig(**fields.pop("student"))
        rates = tuple((int(step), float(rate)) for step, rate in fields.pop("learning_rates"))
        return DistilConfig(**fields, autoencoder=autoencoder, student=student, learning_rates=rates)
    except (KeyError, TypeError, ValueError) as error:
        raise TetradError(f"{run}/config.json: fields missing or unknown ({error}); train the run again") from error


def load_trained(run: Path) -> Trained:
    config = distil_config(run)
    trained = Trained(WaveNetAutoencoder(config.autoencoder), build_student(config.student))
    load_weights(trained.autoencoder.encoder, run / "encoder.weights.h5")
    load_weights(trained.autoencoder.decoder, run / "decoder.weights.h5")
    load_weights(trained.student, run / "student.weights.h5")
    return trained


def load_student(run: Path) -> keras.Model:
    """The student with the static shape that is quantized: (1, ROWS, COLUMNS, CHANNELS)."""
    student = build_student(distil_config(run).student, conditioning.ROWS, conditioning.COLUMNS, batch=1)
    load_weights(student, run / "student.weights.h5")
    return student


def load_encoder(run: Path) -> keras.Model:
    """The encoder with the static shape of a note: spectrum frames (1, 500, BINS) -> (1, 125, 16)."""
    trained = load_trained(run).autoencoder.encoder
    frames = keras.Input((NOTE_SAMPLES // STEP_SAMPLES, trained.input_shape[-1]), batch_size=1)
    return keras.Model(frames, trained(frames))


def calibration_inputs(run: Path) -> Iterator[np.ndarray]:
    """The run's calibration inputs, each (1, ROWS, COLUMNS, CHANNELS)."""
    path = run / "calibration.npy"
    try:
        inputs = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise TetradError(f"{path}: cannot be read ({error}); run `tetrad train student` to its end") from error
    yield from inputs[:, None].astype(np.float32)


def train_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--notes", type=Path, required=True,
                        help="what to learn from: a jsonwav folder or a .tfrecord file")
    parser.add_argument("--autoencoder", type=Path, required=True, help="run of the teacher")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an interrupted run is resumed")
    parser.add_argument("--encoder", choices=("tuned", "frozen"), default="tuned",
                        help="whether the encoder goes on learning, from student and teacher together")
    parser.add_argument("--teacher-notes", type=console.whole_number(0, 10_000), default=DistilConfig.teacher_notes,
                        help="notes that the teacher plays between instruments; 0: learn from recordings alone")
    parser.add_argument("--steps", type=console.whole_number(1, 10_000_000), default=DistilConfig.steps)

    def run(args: Namespace) -> None:
        autoencoder = config_of(args.autoencoder)
        defaults = DistilConfig(autoencoder)
        rates = tuple((step * args.steps // defaults.steps, rate) for step, rate in defaults.learning_rates)
        config = dataclasses.replace(defaults, encoder=args.encoder, teacher_notes=args.teacher_notes,
                                     steps=args.steps, learning_rates=rates)
        train_student(Notes(args.notes), args.autoencoder, config, args.out)

    return run
