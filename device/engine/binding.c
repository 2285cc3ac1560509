/* device._engine: the engine as one Python class. The only file here that knows Python; the docstrings and types
 * that a reader needs stand in device/_engine.pyi. Arguments are checked here, so that the engine may trust them. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "card.h"
#include "engine.h"
#include "lfo.h"
#include "midi_binding.h"

#define MAX_BANKS 4 /* one that is played, one on its way there, one on its way back, one that is being made */

/* The arrays of a cell that has taken another's place. */
typedef struct held_cell {
    Py_buffer sound, levels;
    struct held_cell *next;
} held_cell;

#define ARRAYS 3 /* of a table: cells, levels, motion */

/* Those of a table that was added to a bank. */
typedef struct held_table {
    Py_buffer buffers[ARRAYS];
    struct held_table *next;
} held_table;

/* A bank and the arrays that it borrows, held until the engine has given it back. */
typedef struct {
    engine_bank *bank; /* NULL: the place is free */
    Py_buffer *buffers;
    int buffer_count, layers, grid;
    held_cell *cells;
    held_table *tables;
} held_bank;

typedef struct {
    PyObject_HEAD
    engine *engine;
    held_bank banks[MAX_BANKS];
    int newest; /* of them: what was set last; -1: none */
    int rendering; /* a thread is in engine_render() without the GIL */
    int lent;      /* to a card, which renders */
} Engine;

static void release_buffers(Py_buffer *buffers, int count) {
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&buffers[i]);
    PyMem_Free(buffers);
}

static void let_cell_go(held_cell *cell) {
    PyBuffer_Release(&cell->sound);
    PyBuffer_Release(&cell->levels);
    PyMem_Free(cell);
}

static void let_table_go(held_table *table) {
    for (int i = 0; i < ARRAYS; i++)
        PyBuffer_Release(&table->buffers[i]);
    PyMem_Free(table);
}

static void let_go(held_bank *held) {
    while (held->tables) {
        held_table *table = held->tables;
        held->tables = table->next;
        let_table_go(table);
    }
    while (held->cells) {
        held_cell *cell = held->cells;
        held->cells = cell->next;
        let_cell_go(cell);
    }
    engine_bank_destroy(held->bank);
    release_buffers(held->buffers, held->buffer_count);
    *held = (held_bank){0};
}

/* Of the cells that the engine has done with, those that are held are let go. */
static void free_cells(Engine *self) {
    engine_cell done;
    while (engine_swapped_cell(self->engine, &done)) {
        held_cell **at = NULL;
        for (int i = 0; i < MAX_BANKS && !(at && *at); i++) {
            const engine_bank *bank = self->banks[i].bank;
            if (!bank || engine_bank_number(bank) != done.bank) /* of a bank that is gone: the address may be another's */
                continue;
            for (at = &self->banks[i].cells; *at && (*at)->sound.buf != done.sound;)
                at = &(*at)->next;
        }
        held_cell *cell = at ? *at : NULL;
        if (cell) {
            *at = cell->next;
            let_cell_go(cell);
        }
    }
}

/* A bank that is ours again; NULL is none. */
static void free_bank(Engine *self, const engine_bank *bank) {
    for (int i = 0; bank && i < MAX_BANKS; i++)
        if (self->banks[i].bank == bank)
            let_go(&self->banks[i]);
}

static PyObject *engine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"sample_rate_hz", "polyphony", NULL};
    int sample_rate_hz = 48000, polyphony = 32;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|ii:Engine", names, &sample_rate_hz, &polyphony))
        return NULL;
    if (sample_rate_hz < ENGINE_MIN_RATE_HZ || sample_rate_hz > ENGINE_MAX_RATE_HZ)
        return PyErr_Format(PyExc_ValueError, "sample_rate_hz must be %d..%d, not %d", ENGINE_MIN_RATE_HZ,
                            ENGINE_MAX_RATE_HZ, sample_rate_hz);
    if (polyphony < 1 || polyphony > ENGINE_MAX_POLYPHONY)
        return PyErr_Format(PyExc_ValueError, "polyphony must be 1..%d, not %d", ENGINE_MAX_POLYPHONY, polyphony);
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Engine *self = (Engine *)alloc(type, 0);
    if (self && !(self->engine = engine_create(sample_rate_hz, polyphony))) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    if (self)
        self->newest = -1;
    return (PyObject *)self;
}

static void engine_dealloc(PyObject *object) {
    Engine *self = (Engine *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->engine)
        engine_destroy(self->engine);
    for (int i = 0; i < MAX_BANKS; i++)
        let_go(&self->banks[i]);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(self);
    Py_DECREF(type);
}

/* NULL with an error set while another thread renders: the engine must be had alone. */
static Engine *alone(PyObject *object) {
    Engine *self = (Engine *)object;
    if (!self->rendering && !self->lent)
        return self;
    PyErr_SetString(PyExc_RuntimeError, self->lent ? "the engine is played by a card"
                                                   : "the engine is rendering in another thread");
    return NULL;
}

/* To a card, or back from it. */
static PyObject *lend(PyObject *object, PyObject *arg) {
    int lent = PyObject_IsTrue(arg);
    if (lent < 0 || (lent && !alone(object)))
        return NULL;
    ((Engine *)object)->lent = lent;
    Py_RETURN_NONE;
}

/* Takes an array of `ndim` dimensions of int16 ("h") or float32 ("f") numbers; -1, with an error set, where it is none. */
static int take_array(PyObject *array, const char *kind, int ndim, Py_buffer *buffer) {
    if (PyObject_GetBuffer(array, buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
        return -1;
    const char *format = buffer->format ? buffer->format : "B";
    if (strcmp(format + (format[0] == '<'), kind) == 0 && buffer->ndim == ndim
        && (uintptr_t)buffer->buf % (size_t)buffer->itemsize == 0)
        return 0;
    PyErr_Format(PyExc_ValueError, "set_bank wants a table's cells int16 [layers, grid, grid, samples], its levels "
                 "float32 [layers, grid, grid, columns], its motion float32 [layers, %d, 4], aligned", ENGINE_CORNERS);
    PyBuffer_Release(buffer);
    return -1;
}

static int has_shape(const Py_buffer *buffer, const Py_ssize_t *shape) {
    return memcmp(buffer->shape, shape, (size_t)buffer->ndim * sizeof *shape) == 0;
}

/* A bank on its way to the engine. */
typedef struct {
    int velocities[ENGINE_MAX_LAYERS];
    int layers, count, grid; /* grid 0 before the first table that tells it */
    engine_table tables[ENGINE_KEYS];
    Py_buffer *buffers; /* ARRAYS for each table */
} new_bank;

static int take_arrays(PyObject *cells, PyObject *levels, PyObject *motion, Py_buffer buffers[ARRAYS]) {
    int taken = 0;
    if (take_array(cells, "h", 4, &buffers[0]) == 0 && ++taken && take_array(levels, "f", 4, &buffers[1]) == 0 && ++taken
        && take_array(motion, "f", 3, &buffers[2]) == 0)
        return 0;
    while (taken > 0)
        PyBuffer_Release(&buffers[--taken]);
    return -1;
}

/* A table from a tuple, its arrays held in `buffers`; -1, with an error set and nothing held, where it is none of so many
 * layers, or its grid is another one. grid: 0 where any will do. */
static int take_table(PyObject *tuple, int layers, int grid, engine_table *table, Py_buffer buffers[ARRAYS]) {
    int pitch, loop_start, loop_samples;
    PyObject *cells_array, *levels_array, *motion_array;
    if (!PyArg_ParseTuple(tuple, "iOiiOO;a table is (pitch, cells, loop_start, loop_samples, levels, motion)", &pitch,
                          &cells_array, &loop_start, &loop_samples, &levels_array, &motion_array)
        || take_arrays(cells_array, levels_array, motion_array, buffers) < 0)
        return -1;
    const Py_buffer *cells = &buffers[0], *levels = &buffers[1], *motion = &buffers[2];
    Py_ssize_t side = cells->shape[1], samples = cells->shape[3];
    const Py_ssize_t of_cells[] = {layers, side, side, samples};
    const Py_ssize_t of_levels[] = {layers, side, side, samples / ENGINE_COLUMN_SAMPLES};
    const Py_ssize_t of_motion[] = {layers, ENGINE_CORNERS, 4};
    if (samples > INT_MAX / 2 || side < 1 || side > ENGINE_MAX_GRID || (side > 1 && grid && side != grid)
        || !has_shape(cells, of_cells) || !has_shape(levels, of_levels) || !has_shape(motion, of_motion)) {
        PyErr_Format(PyExc_ValueError, "the table of pitch %d must be int16 [%d, grid, grid, samples] of one grid 2..%d "
                     "in all tables, or 1 for cells that are alike, with a level for %d samples and a motion for %d "
                     "corners", pitch, layers, ENGINE_MAX_GRID, ENGINE_COLUMN_SAMPLES, ENGINE_CORNERS);
        for (int i = 0; i < ARRAYS; i++)
            PyBuffer_Release(&buffers[i]);
        return -1;
    }
    *table = (engine_table){.pitch = pitch, .samples = (int)samples, .loop_start = loop_start,
                            .loop_samples = loop_samples, .alike = side == 1, .cells = cells->buf,
                            .levels = levels->buf, .motion = motion->buf};
    return (int)side;
}

static int take_velocities(new_bank *bank, PyObject *velocities) {
    Py_ssize_t count = PyTuple_Size(velocities);
    if (count > ENGINE_MAX_LAYERS) {
        PyErr_Format(PyExc_ValueError, "set_bank wants at most %d velocities, not %zd", ENGINE_MAX_LAYERS, count);
        return -1;
    }
    for (; bank->layers < count; bank->layers++) {
        long velocity = PyLong_AsLong(PyTuple_GetItem(velocities, bank->layers));
        if (velocity == -1 && PyErr_Occurred())
            return -1;
        bank->velocities[bank->layers] = velocity < 0 || velocity > 127 ? -1 : (int)velocity; /* -1 is refused */
    }
    return 0;
}

static int take_tables(new_bank *bank, PyObject *tables) {
    Py_ssize_t count = PyTuple_Size(tables);
    if (count > ENGINE_KEYS) {
        PyErr_Format(PyExc_ValueError, "set_bank wants at most %d tables, not %zd", ENGINE_KEYS, count);
        return -1;
    }
    if (!(bank->buffers = PyMem_Calloc((size_t)count * ARRAYS + 1, sizeof *bank->buffers))) {
        PyErr_NoMemory();
        return -1;
    }
    for (; bank->count < count; bank->count++) {
        PyObject *tuple = PySequence_Tuple(PyTuple_GetItem(tables, bank->count));
        int side = tuple ? take_table(tuple, bank->layers, bank->grid, &bank->tables[bank->count],
                                      bank->buffers + bank->count * ARRAYS) : -1;
        Py_XDECREF(tuple);
        if (side < 0)
            return -1;
        bank->grid = side > 1 ? side : bank->grid;
    }
    return 0;
}

static void give(Engine *self, engine_bank *made, const new_bank *bank) {
    free_bank(self, engine_unload(self->engine));
    free_bank(self, engine_load(self->engine, made));
    for (int i = 0; i < MAX_BANKS; i++)
        if (!self->banks[i].bank) {
            self->banks[i] = (held_bank){made, bank->buffers, ARRAYS * bank->count, bank->layers, bank->grid, NULL, NULL};
            self->newest = i;
            return;
        }
}

static int make_bank(Engine *self, PyObject *velocities, PyObject *tables, int grid) {
    new_bank bank = {.grid = grid};
    if (take_velocities(&bank, velocities) == 0 && take_tables(&bank, tables) == 0) {
        engine_bank *made = engine_bank_create(bank.velocities, bank.layers, bank.tables, bank.count, bank.grid);
        if (made) {
            give(self, made, &bank);
            return 0;
        }
        PyErr_Format(PyExc_ValueError, "set_bank wants 1..%d velocities and pitches that ascend within 0..127, samples "
                     "and the loop's end in whole columns of %d, the loop within the table, and motion of finite "
                     "numbers", ENGINE_MAX_LAYERS, ENGINE_COLUMN_SAMPLES);
    }
    release_buffers(bank.buffers, ARRAYS * bank.count);
    return -1;
}

static PyObject *set_bank(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"velocities", "tables", "grid", NULL};
    PyObject *velocities, *tables;
    int grid = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|i:set_bank", names, &velocities, &tables, &grid))
        return NULL;
    if (grid != 0 && (grid < 2 || grid > ENGINE_MAX_GRID))
        return PyErr_Format(PyExc_ValueError, "grid must be 2..%d, not %d", ENGINE_MAX_GRID, grid);
    PyObject *velocity_tuple = PySequence_Tuple(velocities);
    PyObject *table_tuple = velocity_tuple ? PySequence_Tuple(tables) : NULL;
    int result = table_tuple ? make_bank((Engine *)object, velocity_tuple, table_tuple, grid) : -1;
    Py_XDECREF(velocity_tuple);
    Py_XDECREF(table_tuple);
    if (result < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Adds what is held to the bank set last; -1, with an error set, where it does not fit; 0 where there is no room now. */
static int add(Engine *self, const engine_table *table, held_table *held) {
    held_bank *bank = &self->banks[self->newest];
    int error = engine_add_table(self->engine, bank->bank, table);
    if (error == EAGAIN)
        return 0;
    if (error == ENOMEM)
        PyErr_NoMemory();
    else if (error)
        PyErr_Format(PyExc_ValueError, "add_table wants a pitch 0..127 of which the bank has no table, samples and the "
                     "loop's end in whole columns of %d, the loop within the table, and motion of finite numbers",
                     ENGINE_COLUMN_SAMPLES);
    if (error)
        return -1;
    held->next = bank->tables;
    bank->tables = held;
    return 1;
}

static PyObject *add_table(PyObject *object, PyObject *arg) {
    Engine *self = (Engine *)object;
    if (self->newest < 0)
        return PyErr_Format(PyExc_ValueError, "there is no bank to add a table to");
    const held_bank *bank = &self->banks[self->newest];
    PyObject *tuple = PySequence_Tuple(arg);
    held_table *held = tuple ? PyMem_Calloc(1, sizeof *held) : NULL;
    engine_table table;
    int side = held ? take_table(tuple, bank->layers, bank->grid, &table, held->buffers) : -1;
    Py_XDECREF(tuple);
    if (side < 0) {
        PyMem_Free(held);
        return NULL;
    }
    int added = add(self, &table, held);
    if (added < 1)
        let_table_go(held);
    return added < 0 ? NULL : PyBool_FromLong(added);
}

static int has_places(const Py_buffer *sound, const Py_buffer *levels) {
    return sound->shape[0] == levels->shape[0] * ENGINE_COLUMN_SAMPLES;
}

static PyObject *swap_cell(PyObject *object, PyObject *args) {
    Engine *self = (Engine *)object;
    engine_cell cell = {0};
    PyObject *sound, *levels;
    if (!PyArg_ParseTuple(args, "iiiiOO:swap_cell", &cell.pitch, &cell.layer, &cell.row, &cell.column, &sound, &levels))
        return NULL;
    free_cells(self);
    held_cell *held = self->newest < 0 ? NULL : PyMem_Calloc(1, sizeof *held);
    if (!held)
        return self->newest < 0 ? PyErr_Format(PyExc_ValueError, "there is no bank to swap a cell of") : PyErr_NoMemory();
    if (take_array(sound, "h", 1, &held->sound) < 0) {
        PyMem_Free(held);
        return NULL;
    }
    if (take_array(levels, "f", 1, &held->levels) < 0) {
        PyBuffer_Release(&held->sound);
        PyMem_Free(held);
        return NULL;
    }
    held_bank *bank = &self->banks[self->newest];
    cell.bank = engine_bank_number(bank->bank);
    cell.sound = held->sound.buf;
    cell.levels = held->levels.buf;
    int samples = engine_bank_samples(bank->bank, &cell);
    int fits = samples == held->sound.shape[0] && has_places(&held->sound, &held->levels);
    if (!fits || !engine_swap_cell(self->engine, &cell)) {
        let_cell_go(held);
        if (!fits)
            return PyErr_Format(PyExc_ValueError, "swap_cell wants a cell that the bank has, as int16 [samples] and float32 "
                                "[samples / %d] as long as its table", ENGINE_COLUMN_SAMPLES);
        Py_RETURN_FALSE;
    }
    held->next = bank->cells;
    bank->cells = held;
    Py_RETURN_TRUE;
}

static PyObject *send(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"frame", "kind", "channel", "key", "a", "b", NULL};
    long long frame;
    int kind, channel = 0, key = 0;
    double a = 0.0, b = 0.0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Li|iidd:send", names, &frame, &kind, &channel, &key, &a, &b))
        return NULL;
    if (frame < 0 || frame > INT32_MAX)
        return PyErr_Format(PyExc_ValueError, "frame must be 0..%d, not %lld", INT32_MAX, frame);
    if (kind < 0 || kind > UINT8_MAX || channel < 0 || channel >= ENGINE_CHANNELS || key < 0 || key >= ENGINE_KEYS)
        return PyErr_Format(PyExc_ValueError, "kind must be 0..%d, channel 0..%d, key 0..%d, not %d, %d, %d", UINT8_MAX,
                            ENGINE_CHANNELS - 1, ENGINE_KEYS - 1, kind, channel, key);
    engine_event event = {(uint32_t)frame, (uint8_t)kind, (uint8_t)channel, (uint8_t)key, (float)a, (float)b};
    if (!isfinite(event.a) || !isfinite(event.b)) {
        PyErr_SetString(PyExc_ValueError, "a and b must be finite numbers that a float holds");
        return NULL;
    }
    return PyBool_FromLong(engine_send(((Engine *)object)->engine, &event));
}

static PyObject *render(PyObject *object, PyObject *array) {
    Engine *self = alone(object);
    Py_buffer out;
    if (!self || PyObject_GetBuffer(array, &out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE) < 0)
        return NULL;
    const char *format = out.format ? out.format : "B";
    if ((strcmp(format, "f") != 0 && strcmp(format, "<f") != 0) || out.ndim != 2 || out.shape[1] != 2
        || out.shape[0] > INT_MAX / 2) {
        PyErr_SetString(PyExc_ValueError, "render wants a writable float32 array of shape [frames, 2]");
        PyBuffer_Release(&out);
        return NULL;
    }
    self->rendering = 1;
    Py_BEGIN_ALLOW_THREADS
    engine_render(self->engine, out.buf, (int)out.shape[0]);
    Py_END_ALLOW_THREADS
    self->rendering = 0;
    free_bank(self, engine_unload(self->engine));
    free_cells(self);
    PyBuffer_Release(&out);
    Py_RETURN_NONE;
}

static PyObject *collect(PyObject *object, PyObject *Py_UNUSED(none)) {
    Engine *self = (Engine *)object;
    free_bank(self, engine_unload(self->engine));
    free_cells(self);
    Py_RETURN_NONE;
}

static PyObject *meters(PyObject *object, PyObject *Py_UNUSED(none)) {
    engine_meters m = engine_read_meters(((Engine *)object)->engine);
    return Py_BuildValue("{s:i,s:i,s:K,s:K,s:K}", "voices", m.voices, "limit", m.limit, "stolen", (unsigned long long)m.stolen, "ignored",
                         (unsigned long long)m.ignored, "dropped", (unsigned long long)m.dropped);
}

static PyObject *limit_voices(PyObject *object, PyObject *number) {
    long voices = PyLong_AsLong(number);
    if (voices == -1 && PyErr_Occurred())
        return NULL;
    if (voices < 1 || voices > ENGINE_MAX_POLYPHONY)
        return PyErr_Format(PyExc_ValueError, "voices must be 1..%d, not %ld", ENGINE_MAX_POLYPHONY, voices);
    engine_limit_voices(((Engine *)object)->engine, (int)voices);
    Py_RETURN_NONE;
}

/* For device._alsa: the engine, and as its context the functions that its card calls. The engine must be kept, too. */
static PyObject *capsule(PyObject *object, PyObject *Py_UNUSED(none)) {
    static const card_calls calls = CARD_CALLS;
    PyObject *made = PyCapsule_New(((Engine *)object)->engine, "device._engine.engine", NULL);
    if (made && PyCapsule_SetContext(made, (void *)&calls) < 0)
        Py_CLEAR(made);
    return made;
}

static PyMethodDef methods[] = {
    {"capsule", capsule, METH_NOARGS, "capsule()"},
    {"lend", lend, METH_O, "lend(lent)"},
    {"swap_cell", swap_cell, METH_VARARGS, "swap_cell(pitch, layer, row, column, sound, levels) -> bool"},
    {"limit_voices", limit_voices, METH_O, "limit_voices(voices)"},
    {"set_bank", (PyCFunction)(void (*)(void))set_bank, METH_VARARGS | METH_KEYWORDS,
     "set_bank(velocities, tables, grid=0)"},
    {"add_table", add_table, METH_O, "add_table(table) -> bool"},
    {"collect", collect, METH_NOARGS, "collect()"},
    {"send", (PyCFunction)(void (*)(void))send, METH_VARARGS | METH_KEYWORDS,
     "send(frame, kind, channel=0, key=0, a=0.0, b=0.0) -> bool"},
    {"render", render, METH_O, "render(out)"},
    {"meters", meters, METH_NOARGS, "meters() -> dict"},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "The engine of engine.h; see device/_engine.pyi."},
    {Py_tp_new, engine_new},
    {Py_tp_dealloc, engine_dealloc},
    {Py_tp_methods, methods},
    {0},
};

static PyType_Spec spec = {"device._engine.Engine", sizeof(Engine), 0, Py_TPFLAGS_DEFAULT, slots};

#define PARAMETER_CONSTANT(name, first, least, most) {#name, ENGINE_##name},

static const struct {
    const char *name;
    int value;
} constants[] = {
    {"NOTE_ON", ENGINE_NOTE_ON},
    {"NOTE_OFF", ENGINE_NOTE_OFF},
    {"BLEND", ENGINE_BLEND},
    {"SUSTAIN", ENGINE_SUSTAIN},
    {"BEND", ENGINE_BEND},
    {"PARAMETER", ENGINE_PARAMETER},
    {"ALL_NOTES_OFF", ENGINE_ALL_NOTES_OFF},
    {"ALL_SOUND_OFF", ENGINE_ALL_SOUND_OFF},
    {"MOD_WHEEL", ENGINE_MOD_WHEEL},
    {"PRESSURE", ENGINE_PRESSURE},
    {"KEY_PRESSURE", ENGINE_KEY_PRESSURE},
    {"TIMBRE", ENGINE_TIMBRE},
    {"EXPRESSION", ENGINE_EXPRESSION},
    {"SOSTENUTO", ENGINE_SOSTENUTO},
    {"SOFT", ENGINE_SOFT},
    {"TUNE_KEY", ENGINE_TUNE_KEY},
    {"GESTURE", ENGINE_GESTURE},
    {"POLY", ENGINE_POLY},
    {"MONO", ENGINE_MONO},
    {"LEGATO", ENGINE_LEGATO},
    {"LAST", ENGINE_LAST},
    {"LOW", ENGINE_LOW},
    {"HIGH", ENGINE_HIGH},
    {"FILTER_OFF", ENGINE_FILTER_OFF},
    {"FILTER_LOW", ENGINE_FILTER_LOW},
    {"FILTER_BAND", ENGINE_FILTER_BAND},
    {"FILTER_HIGH", ENGINE_FILTER_HIGH},
    {"LFO_SINE", LFO_SINE},
    {"LFO_TRIANGLE", LFO_TRIANGLE},
    {"LFO_SQUARE", LFO_SQUARE},
    {"LFO_RANDOM", LFO_RANDOM},
    ENGINE_PARAMETER_TABLE(PARAMETER_CONSTANT)
    {"BANK_RATE_HZ", ENGINE_BANK_RATE_HZ},
    {"MIN_RATE_HZ", ENGINE_MIN_RATE_HZ},
    {"MAX_RATE_HZ", ENGINE_MAX_RATE_HZ},
    {"MAX_POLYPHONY", ENGINE_MAX_POLYPHONY},
    {"MAX_LAYERS", ENGINE_MAX_LAYERS},
    {"COLUMN_SAMPLES", ENGINE_COLUMN_SAMPLES},
};

#define PARAMETER_RANGE(name, first, least, most) \
    if (add_range(ranges, #name, first, least, most) < 0) \
        return -1;

static int add_range(PyObject *ranges, const char *name, double first, double least, double most) {
    PyObject *range = Py_BuildValue("(ddd)", first, least, most);
    int result = range ? PyDict_SetItemString(ranges, name, range) : -1;
    Py_XDECREF(range);
    return result;
}

static int fill_ranges(PyObject *ranges) {
    ENGINE_PARAMETER_TABLE(PARAMETER_RANGE)
    return 0;
}

static int fill_module(PyObject *module) {
    PyObject *ranges = PyDict_New();
    if (!ranges || fill_ranges(ranges) < 0 || PyModule_AddObjectRef(module, "PARAMETERS", ranges) < 0) {
        Py_XDECREF(ranges);
        return -1;
    }
    Py_DECREF(ranges);
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0)
            return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int result = type ? PyModule_AddObjectRef(module, "Engine", type) : -1;
    Py_XDECREF(type);
    return result < 0 ? result : midi_binding_add(module);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "device._engine", .m_slots = module_slots};

PyMODINIT_FUNC PyInit__engine(void) {
    return PyModuleDef_Init(&module);
}
