/* device._engine: the engine as one Python class. The only file here that knows Python; the docstrings and types
 * that a reader needs stand in device/_engine.pyi. Arguments are checked here, so that the engine may trust them. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <limits.h>
#include <math.h>
#include <string.h>

#include "engine.h"

typedef struct {
    PyObject_HEAD
    engine *engine;
    Py_buffer *buffers; /* the bank's, held while the engine may read them */
    int buffer_count;
    int rendering; /* a thread is in engine_render() without the GIL */
} Engine;

static void release_buffers(Py_buffer *buffers, int count) {
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&buffers[i]);
    PyMem_Free(buffers);
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
    return (PyObject *)self;
}

static void engine_dealloc(PyObject *object) {
    Engine *self = (Engine *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->engine)
        engine_destroy(self->engine);
    release_buffers(self->buffers, self->buffer_count);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(self);
    Py_DECREF(type);
}

/* NULL with an error set while another thread renders: the engine must be had alone. */
static Engine *alone(PyObject *object) {
    Engine *self = (Engine *)object;
    if (!self->rendering)
        return self;
    PyErr_SetString(PyExc_RuntimeError, "the engine is rendering in another thread");
    return NULL;
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
    int layers, count, grid; /* grid 0 before the first table */
    engine_table tables[ENGINE_KEYS];
    Py_buffer *buffers; /* held_count of them are taken */
    int held_count;
} new_bank;

/* Takes one array of the bank's into its buffers, which are released with it. */
static Py_buffer *hold(new_bank *bank, PyObject *array, const char *kind, int ndim) {
    Py_buffer *buffer = &bank->buffers[bank->held_count];
    if (take_array(array, kind, ndim, buffer) < 0)
        return NULL;
    bank->held_count++;
    return buffer;
}

/* The next table, from a tuple; -1, with an error set, where it is none or not shaped like those before. */
static int take_table(new_bank *bank, PyObject *tuple) {
    int pitch, loop_start, loop_samples;
    PyObject *cells_array, *levels_array, *motion_array;
    Py_buffer *cells, *levels, *motion;
    if (!PyArg_ParseTuple(tuple, "iOiiOO;a table is (pitch, cells, loop_start, loop_samples, levels, motion)", &pitch,
                          &cells_array, &loop_start, &loop_samples, &levels_array, &motion_array)
        || !(cells = hold(bank, cells_array, "h", 4)) || !(levels = hold(bank, levels_array, "f", 4))
        || !(motion = hold(bank, motion_array, "f", 3)))
        return -1;
    Py_ssize_t grid = cells->shape[1], samples = cells->shape[3];
    const Py_ssize_t of_cells[] = {bank->layers, grid, grid, samples};
    const Py_ssize_t of_levels[] = {bank->layers, grid, grid, samples / ENGINE_COLUMN_SAMPLES};
    const Py_ssize_t of_motion[] = {bank->layers, ENGINE_CORNERS, 4};
    if (samples > INT_MAX / 2 || grid < 2 || grid > ENGINE_MAX_GRID || (bank->grid && grid != bank->grid)
        || !has_shape(cells, of_cells) || !has_shape(levels, of_levels) || !has_shape(motion, of_motion)) {
        PyErr_Format(PyExc_ValueError, "the table of pitch %d must be int16 [%d, grid, grid, samples] of one grid 2..%d "
                     "in all tables, with a level for %d samples and a motion for %d corners", pitch, bank->layers,
                     ENGINE_MAX_GRID, ENGINE_COLUMN_SAMPLES, ENGINE_CORNERS);
        return -1;
    }
    bank->grid = (int)grid;
    bank->tables[bank->count++] = (engine_table){.pitch = pitch, .samples = (int)samples, .loop_start = loop_start,
                                                 .loop_samples = loop_samples, .cells = cells->buf,
                                                 .levels = levels->buf, .motion = motion->buf};
    return 0;
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
    if (!(bank->buffers = PyMem_Calloc((size_t)count * 3 + 1, sizeof *bank->buffers))) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *table = PySequence_Tuple(PyTuple_GetItem(tables, i));
        int result = table ? take_table(bank, table) : -1;
        Py_XDECREF(table);
        if (result < 0)
            return -1;
    }
    return 0;
}

/* Gives the tables to the engine, holds them, lets go of the ones before. */
static int swap_bank(Engine *self, PyObject *velocities, PyObject *tables) {
    new_bank bank = {.layers = 0};
    if (take_velocities(&bank, velocities) == 0 && take_tables(&bank, tables) == 0) {
        if (engine_set_bank(self->engine, bank.velocities, bank.layers, bank.tables, bank.count, bank.grid)) {
            release_buffers(self->buffers, self->buffer_count);
            self->buffers = bank.buffers;
            self->buffer_count = bank.held_count;
            return 0;
        }
        PyErr_Format(PyExc_ValueError, "set_bank wants 1..%d velocities and pitches that ascend within 0..127, samples "
                     "and the loop's end in whole columns of %d, the loop within the table, and motion of finite "
                     "numbers", ENGINE_MAX_LAYERS, ENGINE_COLUMN_SAMPLES);
    }
    release_buffers(bank.buffers, bank.held_count);
    return -1;
}

static PyObject *set_bank(PyObject *object, PyObject *args) {
    Engine *self = alone(object);
    PyObject *velocities, *tables;
    if (!self || !PyArg_ParseTuple(args, "OO:set_bank", &velocities, &tables))
        return NULL;
    PyObject *velocity_tuple = PySequence_Tuple(velocities);
    PyObject *table_tuple = velocity_tuple ? PySequence_Tuple(tables) : NULL;
    int result = table_tuple ? swap_bank(self, velocity_tuple, table_tuple) : -1;
    Py_XDECREF(velocity_tuple);
    Py_XDECREF(table_tuple);
    if (result < 0)
        return NULL;
    Py_RETURN_NONE;
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
    PyBuffer_Release(&out);
    Py_RETURN_NONE;
}

static PyObject *meters(PyObject *object, PyObject *Py_UNUSED(none)) {
    Engine *self = alone(object);
    if (!self)
        return NULL;
    engine_meters m = engine_read_meters(self->engine);
    return Py_BuildValue("{s:i,s:K,s:K,s:K}", "voices", m.voices, "stolen", (unsigned long long)m.stolen, "ignored",
                         (unsigned long long)m.ignored, "dropped", (unsigned long long)m.dropped);
}

static PyMethodDef methods[] = {
    {"set_bank", set_bank, METH_VARARGS, "set_bank(velocities, tables)"},
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
    {"ATTACK_MS", ENGINE_ATTACK_MS},
    {"DECAY_MS", ENGINE_DECAY_MS},
    {"SUSTAIN_LEVEL", ENGINE_SUSTAIN_LEVEL},
    {"RELEASE_MS", ENGINE_RELEASE_MS},
    {"VOLUME", ENGINE_VOLUME},
    {"BANK_RATE_HZ", ENGINE_BANK_RATE_HZ},
    {"MIN_RATE_HZ", ENGINE_MIN_RATE_HZ},
    {"MAX_RATE_HZ", ENGINE_MAX_RATE_HZ},
    {"MAX_POLYPHONY", ENGINE_MAX_POLYPHONY},
    {"MAX_LAYERS", ENGINE_MAX_LAYERS},
    {"COLUMN_SAMPLES", ENGINE_COLUMN_SAMPLES},
};

static int fill_module(PyObject *module) {
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0)
            return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int result = type ? PyModule_AddObjectRef(module, "Engine", type) : -1;
    Py_XDECREF(type);
    return result;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "device._engine", .m_slots = module_slots};

PyMODINIT_FUNC PyInit__engine(void) {
    return PyModuleDef_Init(&module);
}
