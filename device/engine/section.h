/* Eight voices side by side, each in its lane: what reads, filters, shapes and pans them is done to all eight at once,
 * in the lanes of the processor's vector unit. */
#ifndef TETRAD_SECTION_H
#define TETRAD_SECTION_H

#include "voice.h"

#define SECTION_VOICES LANES
#define SECTION_MOST (ENGINE_MAX_POLYPHONY / SECTION_VOICES)

typedef struct {
    voice voices[SECTION_VOICES];
    bool sounds[SECTION_VOICES]; /* lanes in use */
    kernel_shape shape;
    uint64_t clock;              /* frames rendered */
    uint64_t since[SECTION_VOICES], ends[SECTION_VOICES]; /* when the voice's envelope was brought up to now, and when
                                                             its piece ends */
    uint64_t next_end;           /* no piece ends before */
    bool rising;                 /* some lane may be */
    bool filtered;               /* at the last steering */
    filter_lanes filter;
} section;

void section_init(section *s);

/* The voice in a lane, triggered before, begins. */
void section_start(section *s, int lane, const voice_world *world);

/* It goes on as another key. */
void section_follow(section *s, int lane, const bank_table *table, const voice_note *note, const voice_world *world);
/* It goes on in another table, and rises to its level within so many frames. */
void section_move(section *s, int lane, const bank_table *table, int frames, const voice_world *world);

void section_release(section *s, int lane, const voice_world *world);
void section_end(section *s, int lane);

/* A lane goes on as it was in another section, but is steered no more. */
void section_copy_lane(section *to, int lane, section *from, int from_lane);

/* Every VOICE_STEER_FRAMES; what all voices need until the next time is read. */
void section_steer(section *s, const voice_world *world);

/* Writes up to as many frames of all voices of `count` sections, SECTION_MOST at most, as are left until the next
 * steering. */
void section_render(section *sections, int count, const voice_world *world, float *stereo, int frames);

#endif
