/* The knobs of the engine, one a line: name, what it is at first, least, most. Python takes names and ranges from
 * here, too (binding.c). What is out of range is brought into it. */
#ifndef TETRAD_PARAMETERS_H
#define TETRAD_PARAMETERS_H

#define ENGINE_PARAMETER_TABLE(P) \
    /* loudness of a note: notes that begin, or are let go, later */ \
    P(ATTACK_MS, 5.0f, 1.0f, 60000.0f) \
    P(DECAY_MS, 500.0f, 1.0f, 60000.0f) \
    P(SUSTAIN_LEVEL, 1.0f, 0.0f, 1.0f) \
    P(RELEASE_MS, 200.0f, 1.0f, 60000.0f) \
    P(VOLUME, 1.0f, 0.0f, 2.0f) \
    P(VELOCITY_CURVE, 2.0f, 0.0f, 8.0f) /* loudness = velocity to this power: 0 is as an organ, 2 as MIDI advises */ \
    P(START_MS, 0.0f, 0.0f, 2000.0f)    /* of the recording that is skipped */ \
    /* who plays */ \
    P(MODE, 0.0f, 0.0f, 2.0f)           /* ENGINE_POLY, ENGINE_MONO, ENGINE_LEGATO */ \
    P(PRIORITY, 0.0f, 0.0f, 2.0f)       /* of the keys held in mono and legato: ENGINE_LAST, ENGINE_LOW, ENGINE_HIGH */ \
    P(UNISON, 1.0f, 1.0f, 8.0f)         /* voices a note */ \
    P(DETUNE_CENTS, 10.0f, 0.0f, 100.0f) /* between the lowest and the highest of them */ \
    P(SPREAD, 0.0f, 0.0f, 1.0f)         /* of the voices between left and right */ \
    /* pitch */ \
    P(TRANSPOSE_SEMITONES, 0.0f, -48.0f, 48.0f) \
    P(TUNE_CENTS, 0.0f, -100.0f, 100.0f) \
    P(GLIDE_MS, 0.0f, 0.0f, 10000.0f)   /* from the last key to the next */ \
    /* filter; semitones move its cutoff */ \
    P(FILTER_MODE, 0.0f, 0.0f, 3.0f)    /* ENGINE_FILTER_OFF, _LOW, _BAND, _HIGH */ \
    P(CUTOFF_HZ, 20000.0f, 20.0f, 20000.0f) \
    P(RESONANCE, 0.0f, 0.0f, 1.0f) \
    P(FILTER_KEY, 0.0f, 0.0f, 2.0f)     /* semitones a semitone from key 60 on */ \
    P(FILTER_VELOCITY_SEMITONES, 0.0f, -96.0f, 96.0f) /* at full velocity */ \
    P(FILTER_ENVELOPE_SEMITONES, 0.0f, -96.0f, 96.0f) \
    P(FILTER_ATTACK_MS, 5.0f, 1.0f, 60000.0f) \
    P(FILTER_DECAY_MS, 500.0f, 1.0f, 60000.0f) \
    P(FILTER_SUSTAIN_LEVEL, 0.0f, 0.0f, 1.0f) \
    P(FILTER_RELEASE_MS, 200.0f, 1.0f, 60000.0f) \
    P(FILTER_TIMBRE_SEMITONES, 24.0f, -96.0f, 96.0f) /* at the end of an MPE key's third dimension */ \
    /* LFO */ \
    P(LFO_SHAPE, 0.0f, 0.0f, 3.0f)      /* LFO_SINE, _TRIANGLE, _SQUARE, _RANDOM */ \
    P(LFO_RATE_HZ, 5.0f, 0.01f, 50.0f) \
    P(LFO_BEATS, 0.0f, 0.0f, 64.0f)     /* a cycle, in place of the rate; 0: the rate counts */ \
    P(LFO_RETRIGGER, 0.0f, 0.0f, 1.0f)  /* 1: each note its own, from the start; 0: one for all */ \
    P(LFO_DELAY_MS, 0.0f, 0.0f, 10000.0f) \
    P(LFO_WHEEL, 0.0f, 0.0f, 1.0f)      /* 1: wheel and aftertouch bring it in, 0: it is there */ \
    P(LFO_PITCH_CENTS, 0.0f, 0.0f, 2400.0f) \
    P(LFO_FILTER_SEMITONES, 0.0f, -96.0f, 96.0f) \
    P(LFO_BLEND_X, 0.0f, -1.0f, 1.0f) \
    P(LFO_BLEND_Y, 0.0f, -1.0f, 1.0f) \
    P(LFO_LEVEL_DB, 0.0f, 0.0f, 40.0f)  /* below the note's own level, at the LFO's least */ \
    P(TEMPO_BPM, 120.0f, 20.0f, 300.0f) \
    /* blend */ \
    P(KEEP_BLEND, 0.0f, 0.0f, 1.0f)     /* 1: a note keeps the blend that it was born with */ \
    /* effects: with a mix of 0 they are off */ \
    P(CHORUS_MIX, 0.0f, 0.0f, 1.0f) \
    P(CHORUS_RATE_HZ, 0.5f, 0.05f, 8.0f) \
    P(CHORUS_DEPTH_MS, 3.0f, 0.0f, 10.0f) \
    P(DELAY_MIX, 0.0f, 0.0f, 1.0f) \
    P(DELAY_MS, 375.0f, 1.0f, 2000.0f) \
    P(DELAY_BEATS, 0.0f, 0.0f, 4.0f)    /* in place of the time; 0: the time counts */ \
    P(DELAY_FEEDBACK, 0.4f, 0.0f, 0.95f) \
    P(DELAY_TONE_HZ, 6000.0f, 100.0f, 20000.0f) \
    P(DELAY_PING_PONG, 0.0f, 0.0f, 1.0f) \
    P(REVERB_MIX, 0.0f, 0.0f, 1.0f) \
    P(REVERB_DECAY_S, 2.0f, 0.2f, 20.0f) \
    P(REVERB_DAMPING_HZ, 6000.0f, 200.0f, 20000.0f) \
    P(REVERB_PREDELAY_MS, 20.0f, 0.0f, 250.0f)

#endif
