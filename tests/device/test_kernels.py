"""Each set of kernels that this processor runs against NumPy in double precision, and the doubling filters."""

import ctypes
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from native import library

from device.engine import doubling_filters

LANES, TAPS, DOUBLED, READ_TAPS, PHASES, READ_FRAMES = 8, 56, 64, 8, 128, 32
CUTS = [(1,), (7,), (32,), (1, 7, 24), (16, 16), (5, 1, 1, 18, 7)]  # frames a call, over and over
ROUNDING = 1e-6  # of the sum of a result's terms without their signs: some roundings of 6e-8

floats, ints, unsigneds = ctypes.c_float * LANES, ctypes.c_int32 * LANES, ctypes.c_uint32 * LANES


class Cells(ctypes.Structure):
    _fields_ = [("samples", ctypes.c_void_p * 4), ("column", ctypes.c_int), ("row", ctypes.c_int)]


class Places(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("doubled", ints), ("whole", ints), ("whole_step", ints),
                ("whole_glide", ints), ("part", unsigneds), ("part_step", unsigneds), ("part_glide", unsigneds),
                ("glides", ctypes.c_bool)]


class Filter(ctypes.Structure):
    """Coefficients in rows: a1, a2, a3, driven, first, second."""

    _fields_ = [("s1", floats), ("s2", floats), ("now", floats * 6), ("step", floats * 6)]


class Shape(ctypes.Structure):
    _fields_ = [(name, floats) for name in ("asymptote", "distance", "coefficient", "level", "level_step", "left",
                                            "right")]


class KernelSet(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), *((name, ctypes.CFUNCTYPE(None, *arguments)) for name, arguments in {
        "blend_still": (ctypes.c_void_p, ctypes.c_float, ctypes.c_float, ctypes.c_void_p, ctypes.c_int),
        "blend_moving": (*[ctypes.c_void_p] * 4, ctypes.c_int),
        "double_rate": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p),
        "read": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
        "filter": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_bool, ctypes.c_int),
        "shape": (*[ctypes.c_void_p] * 4, ctypes.c_int),
    }.items())]


def named(name: str) -> KernelSet | None:
    native = library("kernels.c")
    native.kernels_named.argtypes, native.kernels_named.restype = [ctypes.c_char_p], ctypes.POINTER(KernelSet)
    found = native.kernels_named(name.encode())
    return found.contents if found else None


@pytest.fixture(params=["plain", "avx2", "avx512"])
def kernels(request) -> KernelSet:
    found = named(request.param)
    if found is None:
        pytest.skip(f"this processor does not run the kernels of {request.param}")
    assert found.name == request.param.encode()
    return found


def lanes_of(field: ctypes.Array) -> np.ndarray:
    """A field as an array that shares its memory."""
    return np.ctypeslib.as_array(field)


def runs(cuts: tuple[int, ...], frames: int) -> Iterator[tuple[int, int]]:
    """Where each call begins and ends."""
    start, call = 0, 0
    while start < frames:
        end = min(start + cuts[call % len(cuts)], frames)
        yield start, end
        start, call = end, call + 1


def assert_cuts_do_not_matter(render: Callable[[tuple[int, ...]], np.ndarray]) -> None:
    first = render(CUTS[0])
    for cuts in CUTS[1:]:
        np.testing.assert_array_equal(render(cuts), first)


def assert_near(found: np.ndarray, wanted: np.ndarray, terms: np.ndarray, rounding: float = ROUNDING) -> None:
    """terms: the sum of what each result is made of, without signs."""
    assert (np.abs(found - wanted) <= rounding * terms).all()


# --- blend

def random_cells(samples: int, column: int = 0, row: int = 0) -> tuple[np.ndarray, Cells]:
    """Four sounds, and where the kernels find them; to be kept as long."""
    cells = np.random.default_rng(samples).integers(-32_768, 32_768, (4, samples)).astype(np.int16)
    cells[:, 0] = [-32_768, 32_767, 32_767, -32_768]  # what differs most
    return cells, Cells((ctypes.c_void_p * 4)(*(cell.ctypes.data for cell in cells)), column, row)


def at(cells: Cells, sample: int) -> Cells:
    return Cells((ctypes.c_void_p * 4)(*(start + 2 * sample for start in cells.samples)), cells.column, cells.row)


def mixed(cells: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    a, b, c, d = cells.astype(float)
    return ((1 - x) * (1 - y) * a + x * (1 - y) * b + (1 - x) * y * c + x * y * d) / 32_768


@pytest.mark.parametrize("samples", [1, 7, 32, 64, 200])
@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 0), (0, 1), (1, 1), (0.3, 0.85), (1e-4, 0.5)])
def test_cells_are_mixed_by_nearness(kernels, samples, x, y):
    cells, pointers = random_cells(samples)
    out = np.full(samples + 1, np.nan, np.float32)
    kernels.blend_still(ctypes.byref(pointers), x, y, out.ctypes.data, samples)
    assert np.isnan(out[samples])
    x, y = np.float32(x).astype(float), np.float32(y).astype(float)
    assert_near(out[:samples], mixed(cells, x, y), mixed(np.abs(cells.astype(float)), x, y))


@pytest.mark.parametrize("samples", [1, 7, 32, 64, 200])
def test_cells_are_mixed_on_the_way(kernels, samples):
    cells, pointers = random_cells(samples, column=2, row=5)
    across, down = (2 + np.linspace(0, 1, samples)).astype(np.float32), np.linspace(6, 5, samples).astype(np.float32)
    out = np.full(samples + 1, np.nan, np.float32)
    kernels.blend_moving(ctypes.byref(pointers), across.ctypes.data, down.ctypes.data, out.ctypes.data, samples)
    assert np.isnan(out[samples])
    wanted = mixed(cells, across.astype(float) - 2, down.astype(float) - 5)
    assert_near(out[:samples], wanted, np.abs(cells.astype(float)).sum(axis=0) / 32_768)


def test_blends_do_not_depend_on_cuts(kernels):
    samples = 200
    _kept, pointers = random_cells(samples)
    across, down = np.linspace(0, 1, samples, dtype=np.float32), np.linspace(1, 0.2, samples, dtype=np.float32)

    def still(cuts: tuple[int, ...]) -> np.ndarray:
        out = np.empty(samples, np.float32)
        for start, end in runs(cuts, samples):
            kernels.blend_still(ctypes.byref(at(pointers, start)), 0.3, 0.7, out[start:].ctypes.data, end - start)
        return out

    def moving(cuts: tuple[int, ...]) -> np.ndarray:
        out = np.empty(samples, np.float32)
        for start, end in runs(cuts, samples):
            kernels.blend_moving(ctypes.byref(at(pointers, start)), across[start:].ctypes.data,
                                 down[start:].ctypes.data, out[start:].ctypes.data, end - start)
        return out

    assert_cuts_do_not_matter(still)
    assert_cuts_do_not_matter(moving)


# --- double_rate

def doubling(taps: np.ndarray) -> np.ndarray:
    """A kernel_doubling of taps [2, TAPS], at a whole multiple of 64 bytes."""
    added = np.zeros((8, 128), np.float32)
    for s in range(8):
        added[s, 2 * s : 2 * (s + TAPS)] = taps[:, ::-1].T.ravel()
    whole = np.concatenate([taps.ravel(), added.ravel()]).astype(np.float32)
    memory = np.empty(whole.size + 16, np.float32)
    aligned = memory[-memory.ctypes.data % 64 // 4 :][: whole.size]
    aligned[:] = whole
    return aligned


def doubled(kernels: KernelSet, line: np.ndarray, taps: np.ndarray) -> np.ndarray:
    out, filter_ = np.full(2 * DOUBLED + 1, np.nan, np.float32), doubling(taps)
    kernels.double_rate(out.ctypes.data, line[1:].ctypes.data, filter_.ctypes.data)  # what lies before may be read
    assert np.isnan(out[-1])
    return out[:-1].reshape(DOUBLED, 2)


def random_line(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, DOUBLED + TAPS).astype(np.float32)


@pytest.mark.parametrize("kind", ["real", "random"])
def test_doubling_convolves(kernels, kind):
    rng = np.random.default_rng(9)
    for seed in range(9):
        taps = header_filters()[seed] if kind == "real" else rng.normal(size=(2, TAPS)).astype(np.float32)
        line = random_line(seed)
        found = doubled(kernels, line, taps)
        for half in range(2):
            reverse, sound = taps[half, ::-1].astype(float), line[1:].astype(float)
            assert_near(found[:, half], np.convolve(sound, reverse, "valid"),
                        np.convolve(np.abs(sound), np.abs(reverse), "valid"))


def test_each_tap_of_the_doubling_is_heard_where_it_belongs(kernels):
    taps = np.arange(1, 2 * TAPS + 1, dtype=np.float32).reshape(2, TAPS)
    for stroke in (0, 1, 7, 8, 30, TAPS - 1, TAPS, DOUBLED + TAPS - 2):
        line = np.zeros(DOUBLED + TAPS, np.float32)
        line[1 + stroke] = 1
        wanted = np.zeros((DOUBLED, 2))
        for n in range(max(0, stroke - TAPS + 1), min(DOUBLED, stroke + 1)):
            wanted[n] = taps[:, stroke - n]
        np.testing.assert_array_equal(doubled(kernels, line, taps), wanted)


# --- read

class Readers:
    """Eight voices at random places in sounds of their own, at speeds of their own."""

    SOUND = 1_000  # doubled samples of each

    def __init__(self, glides: bool, seed: int = 0):
        rng = np.random.default_rng(seed)
        self.sound = rng.uniform(-1, 1, LANES * self.SOUND).astype(np.float32)
        self.reading = rng.uniform(-1, 1, (PHASES, 2, READ_TAPS)).astype(np.float32)
        self.reading[:, 1] *= 0.02  # to the next phase
        self.doubled = np.append(0, 1 + rng.permutation(LANES - 1)) * self.SOUND  # the first lane's is the first
        self.position = rng.integers(1 << 32, 100 << 32, LANES, dtype=np.uint64)
        self.step = rng.integers(0, 16 << 32, LANES, dtype=np.uint64)
        self.step[:3] = [0, 1 << 32, (1 << 32) - 1]
        change = rng.integers(-(1 << 30), 1 << 30, LANES)  # a frame, each frame
        change[0], change[1:3] = 1 << 28, np.abs(change[1:3])
        change[3:] = np.where(self.step[3:] > (8 << 32), -np.abs(change[3:]), np.abs(change[3:]))
        assert (change < 0).any()
        self.glides, self.glide = glides, change.astype(np.uint64)

    def places(self) -> Places:
        places = Places(base=self.sound.ctypes.data, glides=self.glides)
        lanes_of(places.doubled)[:] = self.doubled
        for name, numbers in (("", self.position), ("_step", self.step), ("_glide", self.glide)):
            lanes_of(getattr(places, f"whole{name}"))[:] = (numbers >> np.uint64(32)).astype(np.uint32).view(np.int32)
            lanes_of(getattr(places, f"part{name}"))[:] = numbers.astype(np.uint32)
        return places

    def read(self, kernels: KernelSet, cuts: tuple[int, ...], frames: int) -> tuple[np.ndarray, np.ndarray]:
        """What is heard, [frames, LANES], and positions and steps after that."""
        places, out = self.places(), np.full((frames + 1, LANES), np.nan, np.float32)
        for start, end in runs(cuts, frames):
            kernels.read(ctypes.byref(places), self.reading.ctypes.data, out[start:].ctypes.data, end - start)
        assert np.isnan(out[frames]).all()
        after = np.array([lanes_of(places.whole), lanes_of(places.part).view(np.int32), lanes_of(places.whole_step),
                          lanes_of(places.part_step).view(np.int32)]).view(np.uint32)
        return out[:frames], after

    def wanted(self, frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The same, number by number, and the sums of terms without signs."""
        out, terms = np.empty((frames, LANES)), np.empty((frames, LANES))
        position, step = self.position.copy(), self.step.copy()
        taps, way_taps = self.reading[:, 0].astype(float), self.reading[:, 1].astype(float)
        for frame in range(frames):
            for lane in range(LANES):
                whole, part = int(position[lane]) >> 32, int(position[lane]) & 0xFFFF_FFFF
                phase, way = part >> 25, (part & 0x1FF_FFFF) / 2**25
                first = int(self.doubled[lane]) + whole
                products = self.sound[first : first + READ_TAPS].astype(float) * (taps[phase] + way * way_taps[phase])
                out[frame, lane], terms[frame, lane] = products.sum(), np.abs(products).sum()
            position += step
            if self.glides:
                step += self.glide  # modulo 2 ** 64
        low, high = np.uint64(0xFFFF_FFFF), np.uint64(32)
        after = np.array([position >> high, position & low, step >> high, step & low]).astype(np.uint32)
        return out, after, terms


@pytest.mark.parametrize("glides", [False, True])
@pytest.mark.parametrize("frames", [1, 7, 32])
def test_reading_between_doubled_samples(kernels, glides, frames):
    for seed in range(10):
        readers = Readers(glides, seed)
        wanted, after, terms = readers.wanted(frames)
        found, found_after = readers.read(kernels, (frames,), frames)
        assert_near(found, wanted, terms)
        np.testing.assert_array_equal(found_after, after)


@pytest.mark.parametrize("glides", [False, True])
def test_reading_does_not_depend_on_cuts(kernels, glides):
    readers = Readers(glides)
    assert_cuts_do_not_matter(lambda cuts: readers.read(kernels, cuts, READ_FRAMES)[0])
    assert_cuts_do_not_matter(lambda cuts: readers.read(kernels, cuts, READ_FRAMES)[1])


# --- filter

def designed(cutoffs_hz: np.ndarray, q: np.ndarray, modes: np.ndarray) -> np.ndarray:
    """The coefficients of filter.c, [6, LANES]; mode 0: low, 1: band, 2: high."""
    g, k = np.tan(np.pi * cutoffs_hz / 48_000), 1 / q
    a1 = 1 / (1 + g * (g + k))
    a2, a3 = g * a1, g * g * a1
    driven, first = np.choose(modes, [a3, k * a2, a1]), np.choose(modes, [a2, k * a1, -(k * a1 + a2)])
    return np.array([2 - 2 * a1, 2 * a2, 2 * a3, driven, first, modes == 0]).astype(np.float32)


def random_filters(frames: int, seed: int) -> list[Filter]:
    """On the way from any setting to any other."""
    rng, filters = np.random.default_rng(seed), []
    for _ in range(2):
        ends = [designed(20 * 1_000 ** rng.uniform(size=LANES), rng.uniform(0.5, 2, LANES),
                         rng.integers(0, 3, LANES)) for _ in range(2)]
        f = Filter()
        lanes_of(f.s1)[:], lanes_of(f.s2)[:] = rng.uniform(-0.5, 0.5, (2, LANES))
        lanes_of(f.now)[:], lanes_of(f.step)[:] = ends[0], (ends[1] - ends[0]) / np.float32(frames)
        filters.append(f)
    return filters


def filtered(kernels: KernelSet, seed: int, moves: bool, cuts: tuple[int, ...], frames: int) -> np.ndarray:
    """[frames + 10, filter, lane]: what is heard, then the states and the six coefficients, then zeros."""
    filters, out = random_filters(frames, seed), filter_input(frames, seed).astype(np.float32)
    both = (ctypes.c_void_p * 2)(*map(ctypes.addressof, filters))
    for start, end in runs(cuts, frames):
        x = (ctypes.c_void_p * 2)(*(sound[start:].ctypes.data for sound in out))
        kernels.filter(ctypes.byref(both), ctypes.byref(x), moves, end - start)
    after = [np.concatenate([[lanes_of(f.s1), lanes_of(f.s2)], lanes_of(f.now)]) for f in filters]
    return np.concatenate([out, np.array(after)], axis=1)


def filter_input(frames: int, seed: int) -> np.ndarray:
    """[filter, frames, lane], float32."""
    return np.random.default_rng(100 + seed).uniform(-1, 1, (2, frames, LANES)).astype(np.float32)


def wanted_of_filters(seed: int, moves: bool, frames: int) -> np.ndarray:
    """The equations of filter.c; the coefficients are added up in float32, as they are there."""
    columns = []
    for f, x in zip(random_filters(frames, seed), filter_input(frames, seed), strict=True):
        s1, s2 = lanes_of(f.s1).astype(float), lanes_of(f.s2).astype(float)
        now, step, out = lanes_of(f.now).copy(), lanes_of(f.step), []
        for frame in x.astype(float):
            a1, a2, a3, driven, first, second = now.astype(float)
            drive = frame - s2
            out.append(driven * drive + first * s1 + second * s2)
            s1, s2 = s1 - a1 * s1 + a2 * drive, s2 + a2 * s1 + a3 * drive
            now = now + step if moves else now
        columns.append(np.concatenate([out, [s1, s2], now]))
    return np.array(columns)


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("frames", [1, 7, 32, 64])
def test_filters(kernels, moves, frames):
    for seed in range(10):
        found, wanted = filtered(kernels, seed, moves, (frames,), frames), wanted_of_filters(seed, moves, frames)
        np.testing.assert_array_equal(found[:, -6:], wanted[:, -6:])
        assert_near(found[:, :-6], wanted[:, :-6], np.abs(wanted[:, :-6]).max(axis=1, keepdims=True), 2e-6)


@pytest.mark.parametrize("moves", [False, True])
def test_filters_do_not_depend_on_cuts(kernels, moves):
    assert_cuts_do_not_matter(lambda cuts: filtered(kernels, 3, moves, cuts, 64))


# --- shape

def shaped(kernels: KernelSet, cuts: tuple[int, ...], frames: int) -> tuple[np.ndarray, np.ndarray, Shape]:
    """Left and right; the sum of their terms without signs, and the same from the textbook; the shape after that."""
    shape, rng = Shape(), np.random.default_rng(frames)
    for name, (low, high) in {"asymptote": (0, 1), "distance": (-1, 1), "coefficient": (0.9, 1), "level": (0, 1),
                              "level_step": (-0.01, 0.01), "left": (0, 1.4), "right": (0, 1.4)}.items():
        lanes_of(getattr(shape, name))[:] = rng.uniform(low, high, LANES)
    sound, there = rng.uniform(-1, 1, (2, frames, LANES)).astype(np.float32)
    sides = np.array([there, -there])
    p = {name: lanes_of(getattr(shape, name)).astype(float) for name, *_ in Shape._fields_}
    n = np.arange(frames)[:, None]
    envelope = p["asymptote"] + p["distance"] * p["coefficient"] ** n
    gains = envelope * (p["level"] + p["level_step"] * n) * np.array([p["left"], p["right"]])[:, None]
    wanted = sides + sound * gains
    for start, end in runs(cuts, frames):
        kernels.shape(ctypes.byref(shape), sound[start:].ctypes.data, sides[0, start:].ctypes.data,
                      sides[1, start:].ctypes.data, end - start)
    np.testing.assert_allclose(shape.distance, p["distance"] * p["coefficient"] ** frames, rtol=frames * 6e-8)
    np.testing.assert_allclose(shape.level, p["level"] + p["level_step"] * frames, atol=frames * 6e-8)
    return sides, wanted, shape


@pytest.mark.parametrize("frames", [1, 7, 32, 64])
def test_shape(kernels, frames):
    """Levels are added up frame by frame, by numbers up to 2: each addition is off by 6e-8 at most."""
    found, wanted, _ = shaped(kernels, (frames,), frames)
    assert_near(found, wanted, np.full(found.shape, 3.0), ROUNDING)


def test_shape_does_not_depend_on_cuts(kernels):
    assert_cuts_do_not_matter(lambda cuts: shaped(kernels, cuts, 64)[0])
    assert_cuts_do_not_matter(lambda cuts: np.array(shaped(kernels, cuts, 64)[2].distance))
    assert_cuts_do_not_matter(lambda cuts: np.array(shaped(kernels, cuts, 64)[2].level))


# --- doubling_filters.h

NUMBER = re.compile(r"(-?\d\.\d{8}e[+-]\d\d)f")


def header_filters() -> np.ndarray:
    """[cutoff, half, tap], float32, as they are in the header."""
    numbers = NUMBER.findall(doubling_filters.HEADER.read_text())
    return np.array(numbers, np.float32).reshape(doubling_filters.CUTOFFS, 2, TAPS)


def test_the_header_is_what_its_program_writes():
    """Numbers within 1e-7: least squares differ in their last bits from machine to machine."""
    here, anew = doubling_filters.HEADER.read_text(), doubling_filters.header()
    assert " ".join(NUMBER.sub("", here).split()) == " ".join(NUMBER.sub("", anew).split())
    found, wanted = (np.array(NUMBER.findall(text), float) for text in (here, anew))
    assert np.abs(found - wanted).max() < 1e-7


def response(taps: np.ndarray, at_0: int, cycles: np.ndarray) -> np.ndarray:
    """Of a filter that is symmetric round tap `at_0`; cycles a tap."""
    return taps @ np.cos(2 * np.pi * np.outer(np.arange(len(taps)) - at_0, cycles))


def reading_kernel() -> np.ndarray:
    """As resampler.c tables it, PHASES numbers a doubled sample, its middle at READ_TAPS / 2 * PHASES."""
    native = library("resampler.c", "kernels.c")
    one = doubling(np.zeros((2, TAPS), np.float32)).size
    memory = np.zeros(doubling_filters.CUTOFFS * one + PHASES * 2 * READ_TAPS + 16, np.float32)
    aligned = memory[-memory.ctypes.data % 64 // 4 :]
    native.resampler_filters_init(ctypes.c_void_p(aligned.ctypes.data))
    reading = aligned[doubling_filters.CUTOFFS * one :][: PHASES * 2 * READ_TAPS].reshape(PHASES, 2, READ_TAPS)
    np.testing.assert_allclose(reading[:-1, 0] + reading[:-1, 1], reading[1:, 0], atol=1e-7)
    return np.append(0, reading[::-1, 0].T.ravel())  # tap j of a phase stands at j - 3 - phase / PHASES


@pytest.mark.parametrize("cutoff", range(doubling_filters.CUTOFFS))
def test_doubling_filters_do_what_is_claimed(cutoff):
    """With the reading kernel: flat within 0.3 dB, within 0.06 dB up to half the passband; behind it -81 dB."""
    on, between = header_filters()[cutoff].astype(float)
    taps = np.stack([between, on], axis=1).ravel()[:-1]
    np.testing.assert_allclose(taps, taps[::-1], atol=1e-7)
    assert on[-1] == 0
    stopband = 0.25 / 2 ** (cutoff / doubling_filters.CUTOFFS_AN_OCTAVE)
    passband = stopband - doubling_filters.TRANSITION / 2
    kernel = reading_kernel()

    def heard_db(cycles: np.ndarray) -> np.ndarray:
        reading = response(kernel, READ_TAPS // 2 * PHASES, cycles / PHASES) / PHASES
        return 20 * np.log10(np.abs(response(taps, TAPS - 1, cycles) * reading) / 2)

    low, high = np.linspace(0, passband, 3_000), np.linspace(stopband, 0.5, 3_000)
    assert np.abs(heard_db(low)).max() < 0.3
    assert np.abs(heard_db(low[low <= passband / 2])).max() < 0.06
    assert heard_db(high).max() < -81
