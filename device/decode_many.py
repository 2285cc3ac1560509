"""Many embeddings to sound, on all cores or on other machines: a folder of WAVs."""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from device import files, jobs
from device.corner import EMBEDDING, read_embedding
from device.decoder import MAX_FRAMES, Decoder, PitchTrack, asked_pitch
from device.errors import TetradError
from device.preset import SAMPLE_RATE_HZ
from device.recording import FULL_SCALE, to_int16, write_wav

CHUNK_SOUNDS = 32  # half a second's work for a core, where they are notes

open_decoder = lru_cache(maxsize=1)(Decoder)  # loaded once in a process


def embeddings_at(paths: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """The embeddings' files, folders being looked into, each with what changes when the file does."""
    for path in paths:
        found = sorted(path.glob(f"*{EMBEDDING}")) if path.is_dir() else [path]
        if not found:
            raise TetradError(f"{path} has no embeddings: give a folder that `tetrad embed` made")
        for file in found:
            yield file.resolve(), files.stamp(file)


def decode_chunk(decoder: Path | None, id: str, track: PitchTrack | None,
                 embeddings: Sequence[tuple[Path, str]]) -> bytes:
    """The sounds of some embeddings by the decoder of this id, int16 [samples], as `jobs.pack` makes bytes of them."""
    if open_decoder(decoder).id != id:
        raise TetradError(f"the decoder {decoder or ''} is another one here: give all machines the same files")
    sounds = []
    for path, _ in embeddings:
        embedding = read_embedding(path, MAX_FRAMES)
        pitch = asked_pitch(track, path).at_frames(len(embedding))
        sounds.append(to_int16(open_decoder(decoder).decode(embedding[None], pitch)[0]))
    return jobs.pack(sounds)


def decode_all(paths: Sequence[Path], track: PitchTrack | None, decoder: Path | None, out: Path,
               cluster: jobs.Cluster) -> dict[str, object]:
    """Writes `out`/<name>.wav for each embedding, when all are decoded. Stopped, it goes on. Returns what was done."""
    found = list(embeddings_at(paths))
    files.refuse_twins([path.stem for path, _ in found], "embeddings")
    decoder = decoder and decoder.resolve()
    id = open_decoder(decoder).id
    decoded = jobs.arrays(partial(decode_chunk, decoder, id, track), found, out, chunk_items=CHUNK_SOUNDS,
                          cluster=cluster, description="decoding", key=f"decode {id} {track}")
    samples = 0
    for (path, _), sound in decoded:
        files.make_folder(out)
        write_wav(out / f"{path.stem}.wav", [sound / np.float32(FULL_SCALE)], SAMPLE_RATE_HZ, durable=False)
        samples += len(sound)
    return {"sounds": len(found), "folder": str(out), "seconds": samples / SAMPLE_RATE_HZ}
