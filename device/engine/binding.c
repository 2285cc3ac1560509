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
    Py_buffer *tables; /* the bank's, held while the engine may read them */
    int table_count;
    int rendering; /* a thread is in engine_render() without the GIL */
} Engine;

static void release_tables(Py_buffer *tables, int count) {
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&tables[i]);
    PyMem_Free(tables);
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
    release_tables(self->tables, self->table_count);
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

/* Fills `table` and `buffer` from a pitch and an array; sets an error and returns -1 where it is no table of int16
 * [grid, grid, samples] like those before. grid and samples are 0 before the first. */
static int take_table(PyObject *pitch, PyObject *array, engine_table *table, Py_buffer *buffer, int *grid,
                      int *samples) {
    long key = PyLong_AsLong(pitch);
    if (key == -1 && PyErr_Occurred())
        return -1;
    if (key < 0 || key >= ENGINE_KEYS) {
        PyErr_Format(PyExc_ValueError, "a pitch must be 0..%d, not %ld", ENGINE_KEYS - 1, key);
        return -1;
    }
    if (PyObject_GetBuffer(array, buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0)
        return -1;
    const char *format = buffer->format ? buffer->format : "B";
    Py_ssize_t *shape = buffer->shape;
    if ((strcmp(format, "h") != 0 && strcmp(format, "<h") != 0) || buffer->ndim != 3 || shape[0] != shape[1]
        || shape[0] < 2 || shape[0] > ENGINE_MAX_GRID || shape[2] < 1 || shape[2] > INT_MAX / 2
        || (*grid && (shape[0] != *grid || shape[2] != *samples))) {
        PyErr_Format(PyExc_ValueError, "the table of pitch %ld must be int16 [grid, grid, samples], grid 2..%d, "
                     "and all tables of one shape", key, ENGINE_MAX_GRID);
        PyBuffer_Release(buffer);
        return -1;
    }
    *grid = (int)shape[0];
    *samples = (int)shape[2];
    *table = (engine_table){.pitch = (int)key, .cells = buffer->buf};
    return 0;
}

/* Holds the new tables, gives them to the engine, lets go of the ones before. */
static PyObject *swap_bank(Engine *self, PyObject *pitches, PyObject *arrays) {
    engine_table tables[ENGINE_KEYS];
    int count = (int)PyList_Size(pitches), held = 0, grid = 0, samples = 0;
    Py_buffer *buffers = PyMem_Calloc((size_t)count + 1, sizeof *buffers);
    if (!buffers)
        return PyErr_NoMemory();
    while (held < count && take_table(PyList_GetItem(pitches, held), PyList_GetItem(arrays, held), &tables[held],
                                      &buffers[held], &grid, &samples) == 0)
        held++;
    if (held == count && engine_set_bank(self->engine, tables, count, grid, samples)) {
        release_tables(self->tables, self->table_count);
        self->tables = buffers;
        self->table_count = count;
        Py_RETURN_NONE;
    }
    if (held == count)
        PyErr_SetString(PyExc_ValueError, "pitches must ascend");
    release_tables(buffers, held);
    return NULL;
}

static PyObject *set_bank(PyObject *object, PyObject *args) {
    Engine *self = alone(object);
    PyObject *pitches, *arrays;
    if (!self || !PyArg_ParseTuple(args, "OO:set_bank", &pitches, &arrays))
        return NULL;
    PyObject *pitch_list = PySequence_List(pitches);
    PyObject *array_list = pitch_list ? PySequence_List(arrays) : NULL;
    PyObject *result = NULL;
    if (array_list) {
        Py_ssize_t count = PyList_Size(pitch_list);
        if (count != PyList_Size(array_list) || count > ENGINE_KEYS)
            PyErr_Format(PyExc_ValueError, "set_bank wants one table a pitch and at most %d, not %zd pitches and %zd "
                         "tables", ENGINE_KEYS, count, PyList_Size(array_list));
        else
            result = swap_bank(self, pitch_list, array_list);
    }
    Py_XDECREF(pitch_list);
    Py_XDECREF(array_list);
    return result;
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
    {"set_bank", set_bank, METH_VARARGS, "set_bank(pitches, tables)"},
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
    {"ATTACK_MS", ENGINE_ATTACK_MS},
    {"DECAY_MS", ENGINE_DECAY_MS},
    {"SUSTAIN_LEVEL", ENGINE_SUSTAIN_LEVEL},
    {"RELEASE_MS", ENGINE_RELEASE_MS},
    {"VOLUME", ENGINE_VOLUME},
    {"BANK_RATE_HZ", ENGINE_BANK_RATE_HZ},
    {"MIN_RATE_HZ", ENGINE_MIN_RATE_HZ},
    {"MAX_RATE_HZ", ENGINE_MAX_RATE_HZ},
    {"MAX_POLYPHONY", ENGINE_MAX_POLYPHONY},
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
