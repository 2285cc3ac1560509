#include "midi_binding.h"

#include "midi.h"

typedef struct {
    PyObject_HEAD
    midi midi;
    midi_parser parser;
    PyObject *events; /* list, while bytes are received; NULL after an error */
} Midi;

static void take(void *to, const engine_event *event) {
    Midi *self = to;
    if (!self->events)
        return;
    PyObject *taken = Py_BuildValue("(iiidd)", event->kind, event->channel, event->key, (double)event->a,
                                    (double)event->b);
    if (!taken || PyList_Append(self->events, taken) < 0)
        Py_CLEAR(self->events);
    Py_XDECREF(taken);
}

static PyObject *midi_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Midi", names))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Midi *self = (Midi *)allocate(type, 0);
    if (!self)
        return NULL;
    midi_config config;
    midi_defaults(&config);
    config.emit = take;
    config.to = self;
    config.volume = (midi_target){.parameter = ENGINE_VOLUME, .low = 0.0f, .high = 1.0f};
    config.mode = (midi_target){.parameter = ENGINE_MODE, .low = ENGINE_POLY, .high = ENGINE_MONO};
    midi_init(&self->midi, &config);
    midi_parser_init(&self->parser);
    return (PyObject *)self;
}

static void midi_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(object);
    Py_DECREF(type);
}

static PyObject *receive(PyObject *object, PyObject *arg) {
    Midi *self = (Midi *)object;
    char *bytes;
    Py_ssize_t count;
    if (PyBytes_AsStringAndSize(arg, &bytes, &count) < 0 || !(self->events = PyList_New(0)))
        return NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        midi_parser_bytes(&self->parser, (const uint8_t *)bytes + i, 1, midi_receive, &self->midi);
    PyObject *events = self->events;
    self->events = NULL;
    return events; /* NULL with an exception set where there was no memory */
}

static PyMethodDef methods[] = {{"receive", receive, METH_O, "receive(data) -> list"}, {0}};

static PyType_Slot slots[] = {
    {Py_tp_doc, "MIDI in; see device/_engine.pyi."},
    {Py_tp_new, midi_new},
    {Py_tp_dealloc, midi_dealloc},
    {Py_tp_methods, methods},
    {0},
};

static PyType_Spec spec = {"device._engine.Midi", sizeof(Midi), 0, Py_TPFLAGS_DEFAULT, slots};

int midi_binding_add(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    int result = type ? PyModule_AddObjectRef(module, "Midi", type) : -1;
    Py_XDECREF(type);
    return result;
}
