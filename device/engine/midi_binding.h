/* midi.h for Python: bytes to events, for songs that are rendered. */
#ifndef TETRAD_MIDI_BINDING_H
#define TETRAD_MIDI_BINDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Adds the type Midi. -1 with an exception set where it cannot. */
int midi_binding_add(PyObject *module);

#endif
