"""How throughput grows with workers: rendering, embedding and decoding of notes on Dask, by one worker and by two."""

import os
import tempfile
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from device import console, files, jobs
from device.decode_many import CHUNK_SOUNDS as DECODED
from device.decode_many import decode_chunk, embeddings_at, open_decoder
from device.preset import NOTE_SAMPLES, SAMPLE_RATE_HZ
from device.recording import FULL_SCALE, write_wav
from train.embed import CHUNK_SOUNDS as EMBEDDED
from train.embed import audio_of, embed_chunk, open_encoder, sounds_at

DATASET_NOTES = 305_979  # NSynth's
WORKERS = (1, 2, 4, 8, 16, 64)  # for the table
PITCHES, VELOCITIES = range(36, 85), (50, 100)  # of the rendered notes

Stage = tuple[Callable[[list], bytes], Sequence, int]  # function, items, how many a chunk


def write_notes(folder: Path, count: int) -> None:
    """Notes to embed: ten harmonics that fade, over the keyboard."""
    time_s = np.arange(NOTE_SAMPLES) / SAMPLE_RATE_HZ
    for i in range(count):
        pitch = 36 + i % 49
        hz = 440 * 2 ** ((pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * k * hz * time_s) / k**2 for k in range(1, 11) if k * hz < SAMPLE_RATE_HZ / 2)
        write_wav(folder / f"tone{i}_{pitch}.wav", [0.4 * np.asarray(tone) * np.exp(-time_s)], SAMPLE_RATE_HZ, False)


def rendering(soundfont: Path, count: int) -> Stage:
    import soxr

    from train.soundfont import BATCH_NOTES, Key, font_digest, open_font, render_batch

    digest = font_digest(soundfont)
    font = open_font(soundfont, digest)
    programs = [program for program in range(112) if font.has(program)]
    keys = [Key(*numbers) for numbers in product(programs, PITCHES, VELOCITIES)][:count]
    made_by = {"fluidsynth": font.fluidsynth, "soxr": soxr.__version__}
    return partial(render_batch, soundfont, digest, made_by), keys, BATCH_NOTES


def stages(folder: Path, count: int, soundfont: Path | None) -> dict[str, Stage]:
    """What is measured. Its notes and their embeddings are written to the folder."""
    for name in ("notes", "embeddings"):
        files.make_folder(folder / name)
    write_notes(folder / "notes", count)
    sounds = list(sounds_at(folder / "notes"))
    embed = partial(embed_chunk, None, None, open_encoder(None, None).id, False)
    embedding = open_encoder(None, None).embed_whole(audio_of(sounds[0], False))  # one will do: only time is measured
    for sound in sounds:
        np.save(folder / "embeddings" / f"{sound.name}.npy", embedding)
    found = list(embeddings_at([folder / "embeddings"]))
    decode = partial(decode_chunk, None, open_decoder(None).id, None)
    measured: dict[str, Stage] = {"embedding": (embed, sounds, EMBEDDED), "decoding": (decode, found, DECODED)}
    return measured if soundfont is None else {"rendering": rendering(soundfont.resolve(), count), **measured}


def rate(stage: Stage, cluster: jobs.Cluster, workers: int) -> float:
    """Items a second, all workers having loaded what they need."""
    function, items, chunk_items = stage
    for part in (items[: 2 * workers * chunk_items], items):  # the first to load
        started_s = time.perf_counter()
        for _ in jobs.run(function, part, None, chunk_items=chunk_items, cluster=cluster, description="measuring",
                          key=""):
            pass
    return len(items) / (time.perf_counter() - started_s)


def silent_chunk(items: list[int]) -> bytes:
    return jobs.pack(np.zeros(NOTE_SAMPLES, np.int16) for _ in items)


def client_rate(folder: Path, count: int, cluster: jobs.Cluster) -> float:
    """Notes a second that the client takes, keeps and writes as WAVs, where making them costs the workers nothing."""
    started_s = time.perf_counter()
    silence = jobs.arrays(silent_chunk, range(count), folder / "silence", chunk_items=DECODED, cluster=cluster,
                          description="measuring", key="")
    for i, sound in silence:
        files.make_folder(folder / "silence")
        write_wav(folder / "silence" / f"{i}.wav", [sound / np.float32(FULL_SCALE)], SAMPLE_RATE_HZ, durable=False)
    return count / (time.perf_counter() - started_s)


def hours(worker: float, client: float) -> dict[int, float]:
    """For NSynth, by number of workers that do `worker` notes a second each, where the client takes `client` in all."""
    return {n: round(DATASET_NOTES / min(n * worker, client) / 3600, 2) for n in WORKERS}


def measure(count: int, soundfont: Path | None) -> dict[str, object]:
    """Notes a second by one worker and by two, and hours for NSynth by arithmetic: workers are as fast as one of the
    two is, until the client takes no more, which keeps and writes sounds of 128 kB."""
    result: dict[str, object] = {"notes": count, "cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    with tempfile.TemporaryDirectory() as name:
        measured = stages(Path(name), count, soundfont)
        rates: dict[int, dict[str, float]] = {}
        for workers in (1, 2):
            with jobs.local_scheduler(workers) as address, jobs.Cluster(scheduler=address) as cluster:
                rates[workers] = {stage: rate(what, cluster, workers) for stage, what in measured.items()}
                client = client_rate(Path(name), 4 * count, cluster)
    result["client_notes_per_s"] = client
    for stage in measured:
        one, two = rates[1][stage], rates[2][stage]
        result |= {f"{stage}_notes_per_s_1": one, f"{stage}_notes_per_s_2": two, f"{stage}_ratio": two / one,
                   f"{stage}_hours_by_workers": hours(two / 2, client)}
    return result


def bench_command(parser: ArgumentParser) -> Callable[[Namespace], None]:
    parser.add_argument("--notes", type=console.whole_number(64, 100_000), default=256, help="notes of 4 s (256)")
    parser.add_argument("--soundfont", type=Path, metavar="F", help="a SoundFont 2 file (.sf2), to render from as well")
    console.add_json_option(parser)

    def run(args: Namespace) -> None:
        open_decoder(None)  # what is missing is told before anything is begun
        result = measure(args.notes, args.soundfont)
        if not args.json:
            result |= {key: f"{DATASET_NOTES} notes: " + ", ".join(f"{n}: {h} h" for n, h in table.items())
                       for key, table in result.items() if isinstance(table, dict)}
        console.report(args, result)

    return run
