"""Distilling the student: from the teacher's encoder to recordings, and to the teacher's own samples between them.

The student and the encoder learn together from recordings (`--encoder tuned`): the embedding that results drives the
student best, and a teacher is then taught to play it (`tetrad train autoencoder --encoder`). With that teacher and the
encoder as it is (`--encoder frozen`), a student goes on from where it stood (`--student`), and learns from the
teacher's samples too.
"""

import dataclasses
import zipfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
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
from train.config import CHOICES, config_from
from train.crops import MARGIN_FRAMES, Batches, Crop, Notes, encoder_frames, spectrum_of
from train.devices import precision
from train.notes import Note
from train.run import STATE, fit, keep_to_notes, load_weights, open_run, read_config
from train.sampler import generate
from train.student import StudentConfig, build_student, spectral_loss, synthesize
from train.wavenet import Config, WaveNetAutoencoder

KIND = "student"
RMS_NOTES = 64  # from which the embedding's units are taken: RMS 1 each, so that int8 serves all of them alike
CALIBRATION_NOTES = 256  # with which `tetrad quantize` works
LEAD_SAMPLES = 2 * HOP_SAMPLES  # of silence before an onset: what is compared in windows would fade in otherwise
PAIRED = 4  # of so many crops one at most has its embedding from two spectra, on average
MARGIN_COLUMNS = MARGIN_FRAMES * conditioning.COLUMNS_A_FRAME
STILL = np.zeros(NOTE_SAMPLES // synth.FRAME_SAMPLES, np.float32)  # the pitch's track of what keeps its pitch


@dataclass(frozen=True)
class DistilConfig:
    """How a student is trained."""

    autoencoder: Config
    student: StudentConfig = dataclasses.field(default_factory=StudentConfig)
    encoder: str = "tuned"  # or "frozen"
    crop_samples: int = 12_288
    batch: int = 8
    teacher_notes: int = 0  # that the teacher plays at embeddings half-way between two instruments
    teacher_samples: int = 2 * SAMPLE_RATE_HZ
    teacher_temperature: float = 0.7  # of its draws: under 1 it hisses less
    teacher_share: float = 0.125  # of the crops that are teacher's samples
    jitter: float = 0.04  # RMS of noise on the embedding, as int8 brings: 4 / 127 a step
    embedding_reach: float = 4.0  # beyond which an embedding is pulled back, for int8 has to span it
    neighbour_share: float = 0.15  # of the crops whose embedding comes from the instrument's next pitches or velocities
    learning_rates: tuple[tuple[int, float], ...] = ((0, 1e-3), (20_000, 3e-4), (30_000, 1e-4))
    average_decay: float = 0.999
    steps: int = 36_000
    precision: str = "float32"  # Keras' dtype policy in training; weights are float32 in each


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
    frames = encoder_frames(autoencoder.config, audio)
    return ops.convert_to_numpy(ops.cast(autoencoder.encoder(frames[None]), "float32"))[0]


class StudentCrops:
    """What StudentTrainer learns from.

    A crop's embedding is the mean of those of one or two spectra: its own; those of the pitches or the velocities
    beside it, as when a preset is asked for one between two that it holds; or those of the two instruments that the
    teacher played between.
    """

    def __init__(self, notes: Notes, teacher_notes: TeacherNotes, config: DistilConfig) -> None:
        self.notes, self.config, self.teacher_notes = notes, config, teacher_notes

    def alone(self, random: np.random.Generator) -> tuple[Crop, list[np.ndarray]]:
        notes, samples = self.notes, self.config.crop_samples
        note = notes.notes[random.integers(len(notes.notes))]
        crop = notes.crop(note, notes.draw_start(samples, random, LEAD_SAMPLES), samples)
        return crop, [crop.spectrum]

    def recording(self, random: np.random.Generator) -> tuple[Crop, list[np.ndarray]]:
        notes, samples = self.notes, self.config.crop_samples
        crop, own = self.alone(random)
        if random.random() < self.config.neighbour_share:
            beside = notes.neighbours(crop.note, louder=bool(random.random() < 0.5))
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
        return Crop(pair[0], start, audio, spectra[0], recorded=False), spectra

    def batch(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        config = self.config
        drawn: list[tuple[Crop, list[np.ndarray]]] = []
        for i in range(config.batch):
            taught = len(self.teacher_notes.codes) > 0 and random.random() < config.teacher_share
            crop, spectra = self.between(random) if taught else self.recording(random)
            if sum(len(s) for _, s in drawn) + len(spectra) > i + 1 + config.batch // PAIRED:
                crop, spectra = self.alone(random)  # no place for another pair
            drawn.append((crop, spectra))
        return self.inputs(drawn, random)

    def inputs(self, drawn: list[tuple[Crop, list[np.ndarray]]], random: np.random.Generator) -> dict[str, np.ndarray]:
        config, crops = self.config, [crop for crop, _ in drawn]
        first = np.array([crop.start // synth.COLUMN_SAMPLES - MARGIN_COLUMNS for crop in crops])
        at = first[:, None] + np.arange(config.crop_samples // synth.COLUMN_SAMPLES + 2 * MARGIN_COLUMNS)
        noise = random.standard_normal((len(crops), config.crop_samples), np.float32) * synth.NOISE_RMS
        shaped = np.stack([synth.noise_spectra(n) for n in noise])  # (B, F + 1, BANDS)
        heard = [spectrum for _, spectra in drawn for spectrum in spectra]
        spare = config.batch + config.batch // PAIRED - len(heard)  # the number is fixed, as graphs want it
        starts, steps, ratios = zip(*(self.partials(crop) for crop in crops), strict=True)
        return {
            "spectra": np.stack(heard + [np.zeros_like(heard[0])] * spare),
            "mix": np.pad(mixing([len(s) for _, s in drawn]), [(0, 0), (0, spare)]),
            "hats": np.stack([conditioning.hats(crop.note.pitch) for crop in crops]),
            "inside": ((at >= 0) & (at < NOTE_SAMPLES // synth.COLUMN_SAMPLES)).astype(np.float32),
            "starts": np.stack(starts), "steps": np.stack(steps), "ratios": np.stack(ratios),
            "audible": np.stack([r * s.max() * SAMPLE_RATE_HZ < synth.HIGHEST_HZ
                                 for r, s in zip(ratios, steps, strict=True)]).astype(np.float32),
            "noise_real": shaped.real, "noise_imag": shaped.imag,
            "jitter": config.jitter * random.standard_normal((len(crops), spectra_frames(config), 16), np.float32),
            "audio": np.stack([crop.audio for crop in crops]),
            "onset_s": np.array([-crop.start / SAMPLE_RATE_HZ for crop in crops], np.float32),
        }

    def partials(self, crop: Crop) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of a crop, at its recording's own pitch: each partial's turns at the start of a frame, float32 [F, PARTIALS];
        the fundamental's turns a sample, float32 [F]; and the partials' ratios to it, float32 [PARTIALS]."""
        cents, track = synth.NUMBERS * 0, STILL
        if crop.recorded:
            tone = self.notes.tone(crop.note)
            cents, track = tone.partials_cents, tone.track_cents
        steps = synth.pitch_to_hz(crop.note.pitch) / SAMPLE_RATE_HZ * 2.0 ** (track.astype(np.float64) / 1200)
        turned = np.concatenate([[0.0], np.cumsum(steps * synth.FRAME_SAMPLES)[:-1]])
        # Before the note, where nothing sounds, they stand as at its start
        frames = np.maximum(np.arange(len(crop.audio) // synth.FRAME_SAMPLES) + crop.start // synth.FRAME_SAMPLES, 0)
        ratios = synth.ratios(cents)
        starts = np.mod(np.outer(turned[frames], ratios) + synth.PHASES_TURNS, 1.0)
        return starts.astype(np.float32), steps[frames].astype(np.float32), ratios.astype(np.float32)


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
    """Its output is its loss, (B,)."""

    def __init__(self, encoder: keras.Model, student: keras.Model, config: DistilConfig) -> None:
        super().__init__()
        self.config, self.encoder, self.student = config, encoder, student
        self.encoder.trainable = config.encoder == "tuned"
        self.upsampling = conditioning.upsampling(spectra_frames(config))

    def call(self, inputs: dict[str, keras.KerasTensor], training: bool = False) -> keras.KerasTensor:
        each = ops.cast(self.encoder(inputs["spectra"], training=training), "float32")  # (spectra, frames, 16)
        mixed = ops.einsum("bn,nfd->bfd", inputs["mix"], each)
        z = ops.matmul(self.upsampling, mixed + inputs["jitter"])  # (B, columns, 16)
        hats = inputs["hats"][:, None, :] + ops.zeros_like(z[..., :1])
        x = ops.concatenate([z, hats], axis=-1) * inputs["inside"][..., None]
        columns = self.student(x[:, None], training=training)[:, 0, MARGIN_COLUMNS : 1 - MARGIN_COLUMNS]
        frames = columns.shape[1] * synth.FRAMES_A_COLUMN
        controls = ops.reshape(columns, (-1, frames, synth.CONTROLS))[:, : 1 - synth.FRAMES_A_COLUMN]  # (B, F + 1, C)
        inside = ops.repeat(inputs["inside"][:, MARGIN_COLUMNS:-MARGIN_COLUMNS], synth.COLUMN_SAMPLES, axis=1)
        audio = synthesize(controls, *(inputs[name] for name in SYNTHESIS)) * inside
        loss = spectral_loss(audio, inputs["audio"], inputs["onset_s"])
        if not self.encoder.trainable:
            return loss
        return loss + ops.mean(ops.square(ops.relu(ops.abs(mixed) - self.config.embedding_reach)))


SYNTHESIS = ("starts", "steps", "ratios", "audible", "noise_real", "noise_imag")


def train_student(notes: Notes, teacher: Path, config: DistilConfig, run: Path, seed: int = 0,
                  begin: Path | None = None) -> None:
    """From the encoder of a teacher's run; from a student's run where `begin` is one, encoder included."""
    check_teacher(notes, teacher, config)
    open_run(run, config, KIND)
    keep_to_notes(run, [note.note_str for note in notes.notes])
    keras.utils.set_random_seed(seed)
    with precision(config.precision):
        autoencoder = load_autoencoder(teacher) if config.teacher_notes else WaveNetAutoencoder(config.autoencoder)
        student = build_student(config.student)
    encoder = autoencoder.encoder
    if not (run / STATE).exists():
        if begin:
            load_weights(student, begin / "student.weights.h5")
        tuned = config.encoder == "tuned"
        load_weights(encoder, (begin if begin and tuned else teacher) / "encoder.weights.h5")
        if tuned and not begin:
            autoencoder.rescale_embedding(embedding_rms(autoencoder, notes, seed))
    played = played_notes(autoencoder, notes, config, run)
    batches = Batches(StudentCrops(notes, played, config).batch, config.batch, seed, config.steps)
    fit(StudentTrainer(encoder, student, config), batches, run, {"encoder": encoder, "student": student}, config.steps,
        config.learning_rates, config.average_decay)
    save_calibration(notes, run, seed)


def check_teacher(notes: Notes, teacher: Path, config: DistilConfig) -> None:
    if config.autoencoder.encoder_input != "spectrum":
        raise TetradError(f"{teacher}: its encoder hears samples; the student learns from one that hears spectra, "
                          "as `--config small` has")
    if config.teacher_notes and config.encoder == "tuned":
        raise TetradError("a teacher plays the embeddings of its own encoder: give --encoder frozen with "
                          "--teacher-notes, or --teacher-notes 0")
    if config.teacher_notes and all(len(group) < 2 for group in notes.alike()):
        raise TetradError(f"{notes.source.path}: no two instruments play the same pitch at the same velocity, so "
                          "the teacher has nothing to play between; give --teacher-notes 0")


def embedding_rms(autoencoder: WaveNetAutoencoder, notes: Notes, seed: int) -> np.ndarray:
    """(16,) RMS of each of the embedding's numbers, over some notes."""
    picked = np.random.default_rng(seed).integers(0, len(notes.notes), RMS_NOTES)
    embeddings = np.stack([embed(autoencoder, notes.audio(notes.notes[i])) for i in picked])
    return np.sqrt(np.mean(embeddings**2, axis=(0, 1)))


def played_notes(autoencoder: WaveNetAutoencoder, notes: Notes, config: DistilConfig, run: Path) -> TeacherNotes:
    """The teacher's notes of a run, played once."""
    if not config.teacher_notes:
        return TeacherNotes(np.zeros((0, 0), np.int16), np.zeros((0, 2), np.int64))
    path = run / "teacher_notes.npz"
    if not path.exists():
        played = play_teacher(autoencoder, notes, config)
        with files.atomic(path) as file:
            np.savez(file, codes=played.codes, pairs=played.pairs)
    with np.load(path) as arrays:
        return TeacherNotes(arrays["codes"], arrays["pairs"])


def save_calibration(notes: Notes, run: Path, seed: int) -> None:
    """`calibration.npz`: embeddings float16 [n, 125, 16] and MIDI pitches of some notes, with which `tetrad quantize`
    measures ranges and fine-tunes."""
    autoencoder, random = load_trained(run).autoencoder, np.random.default_rng(seed)
    picked = [notes.notes[i] for i in
              random.choice(len(notes.notes), min(CALIBRATION_NOTES, len(notes.notes)), replace=False)]
    embeddings = np.stack([embed(autoencoder, notes.audio(note)) for note in picked])
    with files.atomic(run / "calibration.npz") as file:
        np.savez_compressed(file, embeddings=embeddings.astype(np.float16),
                            pitches=np.array([note.pitch for note in picked], np.uint8))


@dataclass(frozen=True)
class Trained:
    """What a student's run holds, with the moving averages of its weights. The teacher is beside it where it has been
    taught this encoder; else the decoder knows nothing."""

    autoencoder: WaveNetAutoencoder
    student: keras.Model  # of any number of rows and columns
    has_teacher: bool


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
    taught = run / "decoder.weights.h5"
    trained = Trained(WaveNetAutoencoder(config.autoencoder), build_student(config.student), taught.exists())
    load_weights(trained.autoencoder.encoder, run / "encoder.weights.h5")
    load_weights(trained.student, run / "student.weights.h5")
    if trained.has_teacher:
        load_weights(trained.autoencoder.decoder, taught)
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


def calibration_inputs(run: Path) -> np.ndarray:
    """The decoder's inputs of the run's calibration notes, float32 [n, 1, ROWS, COLUMNS, CHANNELS]."""
    path = run / "calibration.npz"
    try:
        with np.load(path, allow_pickle=False) as arrays:
            tracks = [conditioning.channels(conditioning.columns(embedding), float(pitch))
                      for embedding, pitch in zip(arrays["embeddings"], arrays["pitches"], strict=True)]
            return conditioning.to_tensors(tracks)[:, None]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TetradError(f"{path}: cannot be read ({error}); run `tetrad train student` to its end") from error


def train_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--notes", type=Path, required=True,
                        help="what to learn from: a jsonwav folder or a .tfrecord file")
    parser.add_argument("--autoencoder", type=Path, required=True, help="run of the teacher")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an interrupted run is resumed")
    parser.add_argument("--encoder", choices=("tuned", "frozen"), default="tuned",
                        help="whether the encoder goes on learning, together with the student")
    parser.add_argument("--student", type=Path, help="run of a student to begin with, its encoder too")
    parser.add_argument("--teacher-notes", type=console.whole_number(0, 10_000), default=DistilConfig.teacher_notes,
                        help="notes that the teacher plays between instruments; 0: learn from recordings alone")
    parser.add_argument("--precision", choices=CHOICES["precision"], default=DistilConfig.precision,
                        help="mixed_bfloat16 is several times faster where the processor has AMX")
    parser.add_argument("--steps", type=console.whole_number(1, 10_000_000), default=DistilConfig.steps)

    def run(args: Namespace) -> None:
        autoencoder = config_of(args.autoencoder)
        defaults = DistilConfig(autoencoder)
        rates = tuple((step * args.steps // defaults.steps, rate) for step, rate in defaults.learning_rates)
        config = dataclasses.replace(defaults, encoder=args.encoder, teacher_notes=args.teacher_notes,
                                     steps=args.steps, learning_rates=rates, precision=args.precision)
        train_student(Notes(args.notes), args.autoencoder, config, args.out, begin=args.student)

    return run
