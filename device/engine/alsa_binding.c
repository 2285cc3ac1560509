/* device._alsa: sound cards and keyboards as Python classes; docstrings and types stand in device/_alsa.pyi.
 *
 * The engine lies in another module. Engine.capsule() lends it: the capsule's pointer is the engine, its context the
 * card_calls with which it is played. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "card.h"
#include "keyboard.h"

#define ENGINE_CAPSULE "device._engine.engine"
#define MAX_LISTED 64 /* devices */

typedef struct {
    PyObject_HEAD
    PyObject *lender, *capsule; /* the Engine; they must outlive the card */
    bool lent;
    card *card;
    int rate_hz;
    bool busy; /* a thread starts or stops it without the GIL */
} Card;

typedef struct {
    PyObject_HEAD
    Card *card;
    keyboard *keyboard; /* NULL: it is not started */
} Keyboard;

static void free_object(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc free_it = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_it(object);
    Py_DECREF(type);
}

/* ---- Card. */

static int take_engine(Card *self, PyObject *lender) {
    self->capsule = PyObject_CallMethod(lender, "capsule", NULL);
    if (!self->capsule)
        return -1;
    engine *e = PyCapsule_GetPointer(self->capsule, ENGINE_CAPSULE);
    const card_calls *calls = e ? PyCapsule_GetContext(self->capsule) : NULL;
    if (!calls) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError, "the engine's capsule does not say how it is played: rebuild both");
        return -1;
    }
    self->lender = Py_NewRef(lender);
    self->card = card_create(e, calls);
    if (!self->card)
        PyErr_NoMemory();
    return self->card ? 0 : -1;
}

static PyObject *card_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"engine", "sample_rate_hz", NULL};
    PyObject *lender;
    int rate_hz = 48000;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|i:Card", names, &lender, &rate_hz))
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Card *self = (Card *)alloc(type, 0);
    if (!self)
        return NULL;
    self->rate_hz = rate_hz;
    if (take_engine(self, lender) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* While a card plays the engine nobody else does. */
static int lend(Card *self, bool lent) {
    PyObject *done = self->lent == lent ? Py_NewRef(Py_None) : PyObject_CallMethod(self->lender, "lend", "i", (int)lent);
    if (!done)
        return -1;
    self->lent = lent;
    Py_DECREF(done);
    return 0;
}

static void card_dealloc(PyObject *object) {
    Card *self = (Card *)object;
    Py_BEGIN_ALLOW_THREADS
    card_destroy(self->card);
    Py_END_ALLOW_THREADS
    if (self->lender && lend(self, false) < 0)
        PyErr_Clear();
    Py_XDECREF(self->capsule);
    Py_XDECREF(self->lender);
    free_object(object);
}

static Card *idle(PyObject *object) {
    Card *self = (Card *)object;
    if (!self->busy)
        return self;
    PyErr_SetString(PyExc_RuntimeError, "the card is being started or stopped in another thread");
    return NULL;
}

static PyObject *card_start_method(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"device", "channels", "period_frames", "periods", "priority", "lock_memory", NULL};
    Card *self = idle(object);
    card_options options = {.channels = 2, .period_frames = 128, .periods = 3, .priority = 60};
    int lock_memory = 1;
    if (!self || !PyArg_ParseTupleAndKeywords(args, kwargs, "z|iiiip:start", names, &options.device, &options.channels,
                                              &options.period_frames, &options.periods, &options.priority,
                                              &lock_memory))
        return NULL;
    options.rate_hz = self->rate_hz;
    options.lock_memory = lock_memory != 0;
    if (lend(self, true) < 0)
        return NULL;
    int error;
    self->busy = true;
    Py_BEGIN_ALLOW_THREADS
    error = card_start(self->card, &options);
    Py_END_ALLOW_THREADS
    self->busy = false;
    if (error == 0)
        Py_RETURN_NONE;
    if (error != EALREADY && lend(self, false) < 0)
        return NULL;
    if (error == EINVAL)
        return PyErr_Format(PyExc_ValueError, "a card plays at %d..%d Hz, 1..%d channels, periods of %d..%d frames, "
                            "2..%d of them, at a priority of 0..99, and its name has less than %d bytes",
                            ENGINE_MIN_RATE_HZ, ENGINE_MAX_RATE_HZ, CARD_MAX_CHANNELS, CARD_MIN_PERIOD, CARD_MAX_PERIOD,
                            CARD_MAX_PERIODS, CARD_NAME_BYTES);
    if (error == EALREADY) {
        PyErr_SetString(PyExc_RuntimeError, "the card is started already");
        return NULL;
    }
    errno = error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *card_stop_method(PyObject *object, PyObject *Py_UNUSED(none)) {
    Card *self = idle(object);
    if (!self)
        return NULL;
    self->busy = true;
    Py_BEGIN_ALLOW_THREADS
    card_stop(self->card);
    Py_END_ALLOW_THREADS
    self->busy = false;
    if (lend(self, false) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static const char *state_name(card_state state) {
    static const char *names[] = {[CARD_STOPPED] = "stopped", [CARD_CLOCK] = "clock", [CARD_RUNNING] = "running",
                                  [CARD_ABSENT] = "absent"};
    return names[state];
}

static PyObject *card_meters_method(PyObject *object, PyObject *Py_UNUSED(none)) {
    card_meters m = card_read_meters(((Card *)object)->card);
    return Py_BuildValue(
        "{s:s,s:s,s:i,s:i,s:i,s:O,s:O,s:O,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:K,s:d,s:d,s:i,s:O}", "state",
        state_name(m.state), "format", m.channels ? card_format_name(m.format) : "", "channels", m.channels,
        "period_frames", m.period_frames, "periods", m.periods, "mapped", m.mapped ? Py_True : Py_False, "real_time",
        m.real_time ? Py_True : Py_False, "locked", m.locked ? Py_True : Py_False, "blocks",
        (unsigned long long)m.blocks, "frames", (unsigned long long)m.frames, "xruns", (unsigned long long)m.xruns,
        "suspends", (unsigned long long)m.suspends, "losses", (unsigned long long)m.losses, "late",
        (unsigned long long)m.late, "dropped", (unsigned long long)m.dropped, "sounds_since_ns",
        (unsigned long long)m.sounds_since_ns, "load", (double)m.load, "worst_load", (double)m.worst_load, "voices",
        m.voices, "strained", m.strained ? Py_True : Py_False);
}

static PyObject *card_problem_method(PyObject *object, PyObject *Py_UNUSED(none)) {
    char text[CARD_PROBLEM_BYTES];
    card_problem(((Card *)object)->card, text);
    return PyUnicode_DecodeFSDefault(text);
}

static PyObject *card_clock_method(PyObject *object, PyObject *Py_UNUSED(none)) {
    card_clock clock = card_read_clock(((Card *)object)->card);
    return Py_BuildValue("(KK)", (unsigned long long)clock.ns, (unsigned long long)clock.frame);
}

static PyObject *card_limit_voices_method(PyObject *object, PyObject *number) {
    long voices = PyLong_AsLong(number);
    if (voices == -1 && PyErr_Occurred())
        return NULL;
    if (voices < 1 || voices > ENGINE_MAX_POLYPHONY)
        return PyErr_Format(PyExc_ValueError, "voices must be 1..%d, not %ld", ENGINE_MAX_POLYPHONY, voices);
    card_limit_voices(((Card *)object)->card, (int)voices);
    Py_RETURN_NONE;
}

static PyObject *card_forget_worst_method(PyObject *object, PyObject *Py_UNUSED(none)) {
    card_forget_worst(((Card *)object)->card);
    Py_RETURN_NONE;
}

static PyMethodDef card_methods[] = {
    {"start", (PyCFunction)(void (*)(void))card_start_method, METH_VARARGS | METH_KEYWORDS,
     "start(device, channels=2, period_frames=128, periods=3, priority=60, lock_memory=True)"},
    {"stop", card_stop_method, METH_NOARGS, "stop()"},
    {"meters", card_meters_method, METH_NOARGS, "meters() -> dict"},
    {"problem", card_problem_method, METH_NOARGS, "problem() -> str"},
    {"clock", card_clock_method, METH_NOARGS, "clock() -> (ns, frame)"},
    {"limit_voices", card_limit_voices_method, METH_O, "limit_voices(voices)"},
    {"forget_worst", card_forget_worst_method, METH_NOARGS, "forget_worst()"},
    {0},
};

static PyType_Slot card_slots[] = {
    {Py_tp_doc, "A sound card that an engine plays on; see device/_alsa.pyi."},
    {Py_tp_new, card_new},
    {Py_tp_dealloc, card_dealloc},
    {Py_tp_methods, card_methods},
    {0},
};

static PyType_Spec card_spec = {"device._alsa.Card", sizeof(Card), 0, Py_TPFLAGS_DEFAULT, card_slots};

/* ---- Keyboard. */

static PyObject *keyboard_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"card", NULL};
    PyObject *module = PyType_GetModule(type), *card_type = module ? PyObject_GetAttrString(module, "Card") : NULL;
    PyObject *card_object;
    int parsed = card_type && PyArg_ParseTupleAndKeywords(args, kwargs, "O!:Keyboard", names, card_type, &card_object);
    Py_XDECREF(card_type);
    if (!parsed)
        return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Keyboard *self = (Keyboard *)alloc(type, 0);
    if (self)
        self->card = (Card *)Py_NewRef(card_object);
    return (PyObject *)self;
}

static void stop_keyboard(Keyboard *self) {
    keyboard *stopped = self->keyboard;
    self->keyboard = NULL; /* first, so that no other thread finds it */
    Py_BEGIN_ALLOW_THREADS
    keyboard_stop(stopped);
    Py_END_ALLOW_THREADS
}

static void keyboard_dealloc(PyObject *object) {
    Keyboard *self = (Keyboard *)object;
    stop_keyboard(self);
    Py_XDECREF((PyObject *)self->card);
    free_object(object);
}

/* NULL, with an error set, where it is not started. */
static keyboard *started(PyObject *object) {
    keyboard *k = ((Keyboard *)object)->keyboard;
    if (!k)
        PyErr_SetString(PyExc_RuntimeError, "the keyboard is not started");
    return k;
}

static PyObject *keyboard_start_method(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"connect", "din_fd", "priority", "blend_x_cc", "blend_y_cc", "device_id", NULL};
    Keyboard *self = (Keyboard *)object;
    keyboard_options options = {.din_fd = -1, .priority = 65};
    int connect = 1;
    midi_defaults(&options.midi);
    options.midi.volume = (midi_target){.parameter = ENGINE_VOLUME, .low = 0.0f, .high = 1.0f};
    options.midi.mode = (midi_target){.parameter = ENGINE_MODE, .low = ENGINE_POLY, .high = ENGINE_MONO};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|piibbb:start", names, &connect, &options.din_fd, &options.priority,
                                     &options.midi.blend_x_cc, &options.midi.blend_y_cc, &options.midi.device_id))
        return NULL;
    if (self->keyboard) {
        PyErr_SetString(PyExc_RuntimeError, "the keyboard is started already");
        return NULL;
    }
    options.connect = connect != 0;
    self->keyboard = keyboard_start(self->card->card, &options);
    return self->keyboard ? Py_NewRef(Py_None) : PyErr_SetFromErrno(PyExc_OSError);
}

static PyObject *keyboard_stop_method(PyObject *object, PyObject *Py_UNUSED(none)) {
    stop_keyboard((Keyboard *)object);
    Py_RETURN_NONE;
}

static PyObject *keyboard_poll_method(PyObject *object, PyObject *Py_UNUSED(none)) {
    keyboard *k = started(object);
    PyObject *messages = k ? PyList_New(0) : NULL;
    keyboard_message message;
    while (messages && keyboard_poll(k, &message)) {
        PyObject *tuple = Py_BuildValue("(Kiy#)", (unsigned long long)message.arrival_ns, (int)message.kind,
                                        (const char *)message.data, (Py_ssize_t)message.bytes);
        if (!tuple || PyList_Append(messages, tuple) < 0)
            Py_CLEAR(messages);
        Py_XDECREF(tuple);
    }
    return messages;
}

static PyObject *keyboard_map_method(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"controller", "parameter", "low", "high", "exponential", NULL};
    keyboard *k = started(object);
    int controller, exponential = 0;
    PyObject *parameter;
    double low = 0.0, high = 1.0;
    if (!k || !PyArg_ParseTupleAndKeywords(args, kwargs, "iO|ddp:map", names, &controller, &parameter, &low, &high,
                                           &exponential))
        return NULL;
    long number = parameter == Py_None ? MIDI_NO_PARAMETER : PyLong_AsLong(parameter);
    if (number == -1 && PyErr_Occurred())
        return NULL;
    bool names_one = number >= 0 && (number < ENGINE_PARAMETERS || parameter == Py_None);
    bool fits = low >= -MIDI_MAX_VALUE && low <= MIDI_MAX_VALUE && high >= -MIDI_MAX_VALUE && high <= MIDI_MAX_VALUE;
    if (controller < 0 || controller > 127 || !names_one || !fits || (exponential && (low <= 0.0 || high <= 0.0)))
        return PyErr_Format(PyExc_ValueError, "a map wants a controller 0..127, a parameter 0..%d or None, finite low "
                            "and high, above 0 where it is exponential", ENGINE_PARAMETERS - 1);
    keyboard_map(k, controller, (midi_target){.parameter = (uint8_t)number, .exponential = exponential != 0,
                                              .low = (float)low, .high = (float)high});
    Py_RETURN_NONE;
}

static PyObject *keyboard_set_blend_method(PyObject *object, PyObject *args) {
    keyboard *k = started(object);
    double x, y;
    if (!k || !PyArg_ParseTuple(args, "dd:set_blend", &x, &y))
        return NULL;
    keyboard_set_blend(k, (float)x, (float)y);
    Py_RETURN_NONE;
}

static PyObject *keyboard_set_zone_method(PyObject *object, PyObject *args) {
    keyboard *k = started(object);
    int zone, members;
    if (!k || !PyArg_ParseTuple(args, "ii:set_zone", &zone, &members))
        return NULL;
    if (zone < 0 || zone >= MIDI_ZONES || members < 0 || members > 15)
        return PyErr_Format(PyExc_ValueError, "a zone is LOWER or UPPER and has 0..15 members, not %d with %d", zone,
                            members);
    keyboard_set_zone(k, zone, members);
    Py_RETURN_NONE;
}

static PyObject *keyboard_meters_method(PyObject *object, PyObject *Py_UNUSED(none)) {
    keyboard *k = started(object);
    if (!k)
        return NULL;
    keyboard_meters m = keyboard_read_meters(k);
    return Py_BuildValue("{s:O,s:O,s:O,s:i,s:K,s:K,s:K,s:K,s:K}", "sequencer", m.sequencer ? Py_True : Py_False, "din",
                         m.din ? Py_True : Py_False, "real_time", m.real_time ? Py_True : Py_False, "sources",
                         m.sources, "messages", (unsigned long long)m.messages, "overruns",
                         (unsigned long long)m.overruns, "ignored", (unsigned long long)m.ignored, "malformed",
                         (unsigned long long)m.malformed, "not_copied", (unsigned long long)m.not_copied);
}

static PyMethodDef keyboard_methods[] = {
    {"start", (PyCFunction)(void (*)(void))keyboard_start_method, METH_VARARGS | METH_KEYWORDS,
     "start(connect=True, din_fd=-1, priority=65, blend_x_cc=16, blend_y_cc=17, device_id=0)"},
    {"stop", keyboard_stop_method, METH_NOARGS, "stop()"},
    {"poll", keyboard_poll_method, METH_NOARGS, "poll() -> list"},
    {"map", (PyCFunction)(void (*)(void))keyboard_map_method, METH_VARARGS | METH_KEYWORDS,
     "map(controller, parameter, low=0.0, high=1.0, exponential=False)"},
    {"set_blend", keyboard_set_blend_method, METH_VARARGS, "set_blend(x, y)"},
    {"set_zone", keyboard_set_zone_method, METH_VARARGS, "set_zone(zone, members)"},
    {"meters", keyboard_meters_method, METH_NOARGS, "meters() -> dict"},
    {0},
};

static PyType_Slot keyboard_slots[] = {
    {Py_tp_doc, "MIDI in; see device/_alsa.pyi."},
    {Py_tp_new, keyboard_new},
    {Py_tp_dealloc, keyboard_dealloc},
    {Py_tp_methods, keyboard_methods},
    {0},
};

static PyType_Spec keyboard_spec = {"device._alsa.Keyboard", sizeof(Keyboard), 0, Py_TPFLAGS_DEFAULT, keyboard_slots};

/* ---- What cards there are. */

static PyObject *names_of(const bool has[SAMPLE_FORMATS]) {
    PyObject *names = PyList_New(0);
    for (int i = 0; names && i < SAMPLE_FORMATS; i++) {
        PyObject *name = has[i] ? PyUnicode_FromString(card_format_name((sample_format)i)) : NULL;
        if (has[i] && (!name || PyList_Append(names, name) < 0))
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyObject *numbers_of(const int *numbers, int count) {
    PyObject *list = PyList_New(count);
    for (int i = 0; list && i < count; i++)
        if (PyList_SetItem(list, i, PyLong_FromLong(numbers[i])) < 0)
            Py_CLEAR(list);
    return list;
}

static PyObject *as_dict(const card_description *d) {
    PyObject *rates = numbers_of(d->rates_hz, d->rates), *formats = rates ? names_of(d->formats) : NULL;
    PyObject *device = formats ? PyUnicode_DecodeFSDefault(d->device) : NULL;
    PyObject *name = device ? PyUnicode_DecodeFSDefault(d->name) : NULL, *dict = NULL;
    if (name)
        dict = Py_BuildValue("{s:O,s:O,s:s,s:O,s:O,s:(ii),s:(ii)}", "device", device, "name", name, "error",
                             d->error ? strerror(d->error) : "", "rates_hz", rates, "formats", formats, "channels",
                             d->least_channels, d->most_channels, "period_frames", d->least_period, d->most_period);
    Py_XDECREF(rates);
    Py_XDECREF(formats);
    Py_XDECREF(device);
    Py_XDECREF(name);
    return dict;
}

typedef struct {
    card_description listed[MAX_LISTED];
    int count;
} card_descriptions;

static void keep(void *to, const card_description *description) {
    card_descriptions *all = to;
    if (all->count < MAX_LISTED)
        all->listed[all->count++] = *description;
}

static PyObject *cards(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(none)) {
    card_descriptions *all = PyMem_Calloc(1, sizeof *all);
    PyObject *list = all ? PyList_New(0) : PyErr_NoMemory();
    if (list) {
        Py_BEGIN_ALLOW_THREADS
        card_list(keep, all);
        Py_END_ALLOW_THREADS
    }
    for (int i = 0; list && i < all->count; i++) {
        PyObject *dict = as_dict(&all->listed[i]);
        if (!dict || PyList_Append(list, dict) < 0)
            Py_CLEAR(list);
        Py_XDECREF(dict);
    }
    PyMem_Free(all);
    return list;
}

static PyObject *describe(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *device;
    if (!PyArg_ParseTuple(args, "s:describe", &device))
        return NULL;
    card_description d;
    Py_BEGIN_ALLOW_THREADS
    d = card_describe(device);
    Py_END_ALLOW_THREADS
    return as_dict(&d);
}

static PyMethodDef functions[] = {
    {"cards", cards, METH_NOARGS, "cards() -> list"},
    {"describe", describe, METH_VARARGS, "describe(device) -> dict"},
    {0},
};

/* ---- The module. */

static const struct {
    const char *name;
    int value;
} constants[] = {
    {"MESSAGE", KEYBOARD_MESSAGE}, {"HOST", KEYBOARD_HOST},  {"PLUGGED", KEYBOARD_PLUGGED},
    {"UNPLUGGED", KEYBOARD_UNPLUGGED}, {"LOWER", MIDI_LOWER}, {"UPPER", MIDI_UPPER},
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    int result = type ? PyModule_AddObjectRef(module, name, type) : -1;
    Py_XDECREF(type);
    return result;
}

static int fill_module(PyObject *module) {
    for (size_t i = 0; i < sizeof constants / sizeof *constants; i++)
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0)
            return -1;
    return add_type(module, "Card", &card_spec) < 0 ? -1 : add_type(module, "Keyboard", &keyboard_spec);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, fill_module}, {0, NULL}};

static PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "device._alsa", .m_methods = functions,
                             .m_slots = module_slots};

PyMODINIT_FUNC PyInit__alsa(void) {
    return PyModuleDef_Init(&module);
}
