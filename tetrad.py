"""The command `tetrad`: a table from sub-commands to the stages. A stage is imported only when it is asked for."""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from device.errors import TetradError

Stage = Callable[[argparse.ArgumentParser], Callable[[argparse.Namespace], None]]

# sub-command -> (module:function, one line of help). The function is given the sub-command's parser, adds its
# arguments, and returns what is to be run with the parsed ones.
COMMANDS = {
    "notes render": ("train.soundfont:render_command", "renders a SoundFont to an NSynth folder"),
    "notes info": ("train.notes:info_command", "counts notes by family, source and pitch"),
    "notes convert": ("train.notes:convert_command", "converts between NSynth's jsonwav and TFRecord"),
    "train autoencoder": ("train.autoencoder:train_command", "trains the WaveNet autoencoder (teacher)"),
    "train student": ("train.distil:train_command", "distils it into the feed-forward student"),
    "train baseline": ("train.baseline:train_command", "trains the spectral autoencoder, NSynth's baseline"),
    "import-checkpoint": ("train.checkpoint:import_command", "the released TensorFlow 1 checkpoint of NSynth to a run"),
    "embed": ("train.embed:embed_command", "embeddings of one's own sounds, or of a dataset"),
    "generate": ("train.sampler:generate_command", "an embedding to sound, with the teacher, sample by sample"),
    "decode": ("device.decoder:decode_command", "embeddings to sound, with the int8 student"),
    "interpolate": ("train.interpolate:interpolate_command", "sounds mixed as signals, and morphed as embeddings"),
    "rainbowgram": ("train.rainbowgram:rainbowgram_command", "sounds as pictures: pitch, loudness and phase"),
    "evaluate": ("train.evaluate:evaluate_command", "what is recognised in reconstructions: the paper's tables"),
    "quantize": ("quantize.convert:quantize_command", "a trained student to an int8 TFLite file"),
    "check": ("quantize.check:check_command", "holds a TFLite file against the Edge TPU's rules"),
    "preset make": ("device.preset_command:make_command", "four folders of recordings to a preset"),
    "preset library": ("device.library:library_command", "every preset of a list, of a folder of notes"),
    "preset edit": ("device.preset_command:edit_command", "a preset with other settings of its sound"),
    "preset info": ("device.preset_command:info_command", "what is in a preset"),
    "bake": ("device.bake:bake_command", "decodes a preset's whole grid to a bank"),
    "render": ("device.render:render_command", "a MIDI file through the box's engine, to WAV"),
    "box": ("device.box.command:box_command", "the instrument: keyboards, knobs, sound card, serial line"),
    "push": ("device.serial_line.client:push_command", "presets to a box, over a serial line"),
    "pull": ("device.serial_line.client:pull_command", "a preset of a box, over a serial line"),
    "list": ("device.serial_line.client:list_command", "the presets of a box"),
    "select": ("device.serial_line.client:select_command", "has a box play a preset"),
    "rename": ("device.serial_line.client:rename_command", "gives a preset of a box another name"),
    "remove": ("device.serial_line.client:remove_command", "removes a preset of a box"),
    "status": ("device.serial_line.client:status_command", "how a box is doing"),
    "enclosure": ("enclosure.command:enclosure_command", "case, wiring and parts of the box, as files to make it from"),
    "demo": ("device.demo:demo_command", "a short piece, as sound and picture"),
    "bench decode": ("device.decoder:bench_command", "how many times real time decoding runs"),
    "bench bake": ("device.bench_bake:bench_command", "how long a full pad takes to bake"),
    "bench voices": ("device.bench_voices:bench_command", "what voices cost beside FluidSynth's, and how steadily"),
    "bench latency": ("device.bench_latency:bench_command", "how late notes sound, xruns, memory, with busy decoders"),
    "bench box": ("device.bench_box:bench_command", "from start, and from a pushed preset, to the first note"),
    "bench generate": ("train.bench_generate:bench_command", "samples a second beside the reference implementation"),
    "bench train": ("train.bench_train:bench_command", "training steps a second beside the reference implementation"),
    "bench sound": ("train.bench_sound:bench_command", "the figures of the sound, against what was asked of it"),
    "bench jobs": ("train.bench_jobs:bench_command", "how throughput grows with workers"),
}


def usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(["usage: tetrad COMMAND [options]", "", *lines, "", "tetrad COMMAND --help tells its options."])


# Packages that only an extra installs.
EXTRAS = {"matplotlib": "picture", "distributed": "jobs",
          **dict.fromkeys(("RPi", "luma", "smbus2", "spidev"), "pi"),
          **dict.fromkeys(("build123d", "pyvista", "wireviz"), "enclosure"), **dict.fromkeys(
    ("PIL", "fluidsynth", "google", "google_crc32c", "h5py", "keras", "librosa", "sklearn", "tensorflow"), "train")}


def load(target: str) -> Stage:
    """The function that `target`, "module:function", names."""
    module, function = target.split(":")
    found: Stage = getattr(importlib.import_module(module), function)
    return found


def missing(error: ModuleNotFoundError, name: str) -> str:
    extra = EXTRAS.get((error.name or "").split(".")[0])
    return f"`tetrad {name}` needs {error.name}: pip install '.{f'[{extra}]' if extra else ''}'"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one sub-command. Returns the exit code: 0, 1 for a failed job, 2 for bad use."""
    try:
        code = _main(argv)
        sys.stdout.flush()
    except BrokenPipeError:  # who read it, as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _main(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] in (["-h"], ["--help"]):
        print(usage())
        return 0
    within = [n for n in COMMANDS if words and n.startswith(f"{words[0]} ")]
    if within and words[1:] in (["-h"], ["--help"]):
        print("\n".join(f"tetrad {n}: {COMMANDS[n][1]}" for n in within))
        return 0
    name = next((n for n in (" ".join(words[:2]), " ".join(words[:1])) if n in COMMANDS), None)
    if name is None:
        print(usage(), file=sys.stderr)
        if words:
            print(f"tetrad: there is no command {' '.join(words[:2])[:60]!r}", file=sys.stderr)
        return 2
    target, text = COMMANDS[name]
    parser = argparse.ArgumentParser(prog=f"tetrad {name}", description=text)
    # Decoding runs on one thread a process, and as many processes as are asked for.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # else TensorFlow tells pages of its own affairs
    try:
        run = load(target)(parser)
        run(parser.parse_args(words[len(name.split()):]))
    except TetradError as error:
        print(f"tetrad: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"tetrad: {missing(error, name)}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        raise
    except OSError as error:  # a disk or a folder that refuses where nothing more can be said
        print(f"tetrad: {error.filename or name}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("tetrad: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
