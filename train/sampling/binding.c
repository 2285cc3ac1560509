/* train._sampler: a wavenet as a Python class, and the machine's limits. The only file here that knows Python; the
 * docstrings and types that a reader needs stand in train/_sampler.pyi. Arguments are checked here. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <limits.h>
#include <string.h>

#include "kernels.h"
#include "limits.h"
#include "team.h"
#include "wavenet.h"

#define MOST_CHANNELS 65536
#define MOST_CYCLE 20

typedef struct {
    PyObject_HEAD
    wavenet *wavenet;
    int batch;
    int running; /* a thread is in wavenet_run() without the GIL */
} Wavenet;

/* A C-contiguous buffer of one format and shape (-1: any), else an error that names it. */
static int take_buffer(PyObject *array, const char *name, char format, int dimensions, const Py_ssize_t *shape,
                       int writable, Py_buffer *buffer) {
    if (PyObject_GetBuffer(array, buffer, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return -1;
    const char *found = buffer->format ? buffer->format : "B";
    found += *found == '<' || *found == '=';
    int fits = found[0] == format && !found[1] && buffer->ndim == dimensions;
    for (int i = 0; fits && i < dimensions; i++)
        fits = shape[i] < 0 || buffer->shape[i] == shape[i];
    if (fits)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s has a wrong type or shape", name);
    PyBuffer_Release(buffer);
    return -1;
}

static int check_shape(const wavenet_shape *s) {
    const struct {
        const char *name;
        int value, most;
    } ranges[] = {
        {"batch", s->batch, 65536},      {"frames", s->frames, INT_MAX / 2},
        {"width", s->width, MOST_CHANNELS}, {"skip", s->skip, MOST_CHANNELS},
        {"layers", s->layers, WAVENET_MOST_LAYERS}, {"cycle", s->cycle, MOST_CYCLE},
        {"condition", s->condition, MOST_CHANNELS}, {"hop_samples", s->hop_samples, INT_MAX / 2},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < 1 || ranges[i].value > ranges[i].most) {
            PyErr_Format(PyExc_ValueError, "%s must be 1..%d, not %d", ranges[i].name, ranges[i].most, ranges[i].value);
            return -1;
        }
    if ((long long)s->frames * s->hop_samples > INT_MAX / 2) { /* times are int, and reach a little further */
        PyErr_SetString(PyExc_ValueError, "too many frames");
        return -1;
    }
    return 0;
}

/* Makes the wavenet from a list of arrays; the buffers are let go again. */
static wavenet *create(const wavenet_shape *shape, PyObject *list, PyObject *conditions, const kernels *kernels,
                       unsigned long long seed, double temperature) {
    const int count = wavenet_weights(shape);
    if (PyList_Size(list) != count) {
        PyErr_Format(PyExc_ValueError, "%d arrays of weights are wanted, not %zd", count, PyList_Size(list));
        return NULL;
    }
    Py_buffer *buffers = PyMem_Calloc((size_t)count + 1, sizeof *buffers);
    const float **weights = PyMem_Calloc((size_t)count, sizeof *weights);
    wavenet *made = NULL;
    int held = 0;
    if (!buffers || !weights) {
        PyErr_NoMemory();
        goto done;
    }
    const Py_ssize_t frames[] = {shape->batch, shape->frames, shape->condition};
    if (take_buffer(conditions, "conditions", 'f', 3, frames, 0, &buffers[0]) < 0)
        goto done;
    held = 1;
    for (int i = 0; i < count; i++, held++) {
        const Py_ssize_t floats = (Py_ssize_t)wavenet_weight_floats(shape, i);
        if (take_buffer(PyList_GetItem(list, i), "an array of weights", 'f', 1, &floats, 0, &buffers[held]) < 0)
            goto done;
        weights[i] = buffers[held].buf;
    }
    Py_BEGIN_ALLOW_THREADS
    made = wavenet_create(shape, weights, buffers[0].buf, kernels, seed, (float)temperature);
    Py_END_ALLOW_THREADS
    if (!made)
        PyErr_NoMemory();
done:
    for (int i = 0; i < held; i++)
        PyBuffer_Release(&buffers[i]);
    PyMem_Free(weights);
    PyMem_Free(buffers);
    return made;
}

static PyObject *wavenet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"weights", "conditions", "batch", "frames", "width", "skip", "layers", "cycle", "condition",
                            "hop_samples", "seed", "temperature", "instructions", NULL};
    PyObject *list, *conditions;
    wavenet_shape s;
    unsigned long long seed = 0;
    double temperature = 1;
    const char *instructions = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!Oiiiiiiii|Kdz:Wavenet", names, &PyList_Type, &list, &conditions,
                                     &s.batch, &s.frames, &s.width, &s.skip, &s.layers, &s.cycle, &s.condition,
                                     &s.hop_samples, &seed, &temperature, &instructions)
        || check_shape(&s) < 0)
        return NULL;
    if (!(temperature >= 1e-6 && temperature <= 1e6)) {
        PyErr_SetString(PyExc_ValueError, "temperature must be 1e-6..1e6");
        return NULL;
    }
    const kernels *kernels = kernels_named(instructions);
    if (!kernels)
        return PyErr_Format(PyExc_ValueError, "this processor has no kernels %s", instructions);
    wavenet *made = create(&s, list, conditions, kernels, seed, temperature);
    if (!made)
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Wavenet *self = (Wavenet *)alloc(type, 0);
    if (!self) {
        wavenet_destroy(made);
        return NULL;
    }
    self->wavenet = made;
    self->batch = s.batch;
    return (PyObject *)self;
}

static void wavenet_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    wavenet_destroy(((Wavenet *)object)->wavenet);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(object);
    Py_DECREF(type);
}

static PyObject *run(Wavenet *self, Py_buffer *codes, Py_buffer *logits, int threads) {
    const Py_ssize_t samples = codes->shape[1];
    if (threads < 1 || threads > TEAM_MOST)
        return PyErr_Format(PyExc_ValueError, "threads must be 1..%d, not %d", TEAM_MOST, threads);
    if (samples > wavenet_samples_left(self->wavenet))
        return PyErr_Format(PyExc_ValueError, "%zd samples are more than the %d that are left of the frames", samples,
                            wavenet_samples_left(self->wavenet));
    if (self->running) {
        PyErr_SetString(PyExc_RuntimeError, "the wavenet is running in another thread");
        return NULL;
    }
    bool sound;
    self->running = 1;
    Py_BEGIN_ALLOW_THREADS
    sound = wavenet_run(self->wavenet, codes->buf, logits ? logits->buf : NULL, (int)samples, threads);
    Py_END_ALLOW_THREADS
    self->running = 0;
    if (sound)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_ArithmeticError, "a prediction is no number");
    return NULL;
}

static PyObject *generate(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"codes", "threads", NULL};
    Wavenet *self = (Wavenet *)object;
    PyObject *array, *result;
    Py_buffer codes;
    int threads = 1;
    const Py_ssize_t shape[] = {self->batch, -1};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|i:generate", names, &array, &threads)
        || take_buffer(array, "codes", 'h', 2, shape, 1, &codes) < 0)
        return NULL;
    result = run(self, &codes, NULL, threads);
    PyBuffer_Release(&codes);
    return result;
}

static PyObject *predict(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"codes", "logits", "threads", NULL};
    Wavenet *self = (Wavenet *)object;
    PyObject *given, *array, *result = NULL;
    Py_buffer codes, logits;
    int threads = 1;
    Py_ssize_t shape[] = {self->batch, -1, WAVENET_LEVELS};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|i:predict", names, &given, &array, &threads)
        || take_buffer(given, "codes", 'h', 2, shape, 0, &codes) < 0)
        return NULL;
    shape[1] = codes.shape[1];
    if (take_buffer(array, "logits", 'f', 3, shape, 1, &logits) == 0) {
        result = run(self, &codes, &logits, threads);
        PyBuffer_Release(&logits);
    }
    PyBuffer_Release(&codes);
    return result;
}

static PyObject *gate(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *from, *to;
    const char *instructions = NULL;
    Py_buffer x, gated;
    Py_ssize_t in[] = {-1, 2, LANES}, out[] = {-1, LANES};
    if (!PyArg_ParseTuple(args, "OO|z:gate", &from, &to, &instructions)
        || take_buffer(from, "x", 'f', 3, in, 0, &x) < 0)
        return NULL;
    out[0] = x.shape[0];
    const kernels *kernels = kernels_named(instructions);
    PyObject *result = NULL;
    if (!kernels)
        PyErr_Format(PyExc_ValueError, "this processor has no kernels %s", instructions);
    else if (x.shape[0] <= INT_MAX && take_buffer(to, "gated", 'f', 2, out, 1, &gated) == 0) {
        kernels->gate(gated.buf, x.buf, (int)x.shape[0]);
        PyBuffer_Release(&gated);
        result = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&x);
    return result;
}

static PyObject *machine_limits(PyObject *Py_UNUSED(module), PyObject *args) {
    int threads;
    double read, multiply_add;
    if (!PyArg_ParseTuple(args, "i:machine_limits", &threads))
        return NULL;
    if (threads < 1 || threads > TEAM_MOST)
        return PyErr_Format(PyExc_ValueError, "threads must be 1..%d, not %d", TEAM_MOST, threads);
    Py_BEGIN_ALLOW_THREADS
    read = limits_read(threads);
    multiply_add = limits_multiply_add(threads);
    Py_END_ALLOW_THREADS
    return Py_BuildValue("dd", read, multiply_add);
}

static PyMethodDef methods[] = {
    {"generate", (PyCFunction)(void (*)(void))generate, METH_VARARGS | METH_KEYWORDS, "generate(codes, threads=1)"},
    {"predict", (PyCFunction)(void (*)(void))predict, METH_VARARGS | METH_KEYWORDS,
     "predict(codes, logits, threads=1)"},
    {0},
};

static PyType_Slot slots[] = {
    {Py_tp_doc, "The decoder of wavenet.h; see train/_sampler.pyi."},
    {Py_tp_new, wavenet_new},
    {Py_tp_dealloc, wavenet_dealloc},
    {Py_tp_methods, methods},
    {0},
};

static PyType_Spec spec = {"train._sampler.Wavenet", sizeof(Wavenet), 0, Py_TPFLAGS_DEFAULT, slots};

static PyMethodDef functions[] = {
    {"gate", gate, METH_VARARGS, "gate(x, gated, instructions=None)"},
    {"machine_limits", machine_limits, METH_VARARGS, "machine_limits(threads) -> (bytes/s, multiply-adds/s)"},
    {0},
};

static int fill_module(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int result = type ? PyModule_AddObjectRef(module, "Wavenet", type) : -1;
    Py_XDECREF(type);
    return result < 0 || PyModule_AddIntConstant(module, "MOST_THREADS", TEAM_MOST) < 0
                   || PyModule_AddStringConstant(module, "INSTRUCTIONS", kernels_named(NULL)->name) < 0
               ? -1
               : 0;
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "train._sampler", .m_methods = functions,
                             .m_slots = module_slots};

PyMODINIT_FUNC PyInit__sampler(void) {
    return PyModuleDef_Init(&module);
}
