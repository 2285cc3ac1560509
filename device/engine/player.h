/* Who plays: keys, pedals and modes make voices begin, follow and end, and never more of them than may. */
#ifndef TETRAD_PLAYER_H
#define TETRAD_PLAYER_H

#include "section.h"

#define PLAYER_FADE_MS 2.0f /* of a stolen voice */
#define PLAYER_MAX_FADE_FRAMES (2 * ENGINE_MAX_RATE_HZ / 1000)

/* A key that is down, for mono and legato. */
typedef struct {
    uint8_t channel, key;
    float velocity;
} player_key;

typedef struct {
    section *sections;      /* as many as the polyphony needs */
    int polyphony, limit;   /* voices there are; that may sound now (player_limit) */
    int voice_count;
    int16_t by_age[ENGINE_MAX_POLYPHONY]; /* slots that sound, oldest first: section * SECTION_VOICES + lane */
    uint64_t stolen;

    player_key held[ENGINE_KEYS]; /* as they were pressed */
    int held_count;
    float last_semitones; /* of the key played last, with its tuning: where a glide begins; NAN before the first */

    /* What stolen voices still have to sound: eight at a time they are rendered to their end at once and added here, so
     * that their slots are free and no number of them is too many. fading[fading_at] belongs to the next frame. */
    section *leaving;       /* that are still to be rendered so */
    int leaving_count;
    float fading[PLAYER_MAX_FADE_FRAMES][2];
    float fade[PLAYER_MAX_FADE_FRAMES]; /* 1 -> 0 */
    int fade_frames, fading_at;
} player;

/* Sections that a player of so many voices needs. */
int player_sections(int polyphony);

/* `sections`: player_sections() of them. */
void player_init(player *p, section *sections, int polyphony, float rate_hz);

void player_note_on(player *p, const voice_world *world, const bank *tables, int channel, int key, float velocity);
void player_note_off(player *p, const voice_world *world, const bank *tables, int channel, int key);
void player_key_pressure(player *p, int channel, int key, float pressure);

/* The pedals' state in `world` is set before. */
void player_sustain(player *p, const voice_world *world, int channel);
void player_sostenuto(player *p, const voice_world *world, int channel, bool down);

void player_all_notes_off(player *p, const voice_world *world, int channel);
void player_cut(player *p, const voice_world *world, int channel); /* within 2 ms; -1: every channel */

/* No voice that has ended reads its table any more: what it still has to sound is worked out. */
void player_settle(player *p, const voice_world *world);

/* Another sound for a cell of a table: voices in which it is heard go over to it within some ms. False, and nothing done,
 * where one of them is on its way from a swap before. */
bool player_swap(player *p, const bank_table *table, bank_cell *cell, const engine_cell *to);

/* A table that has come to those of a bank: what is held of keys to which it is nearer goes over to it. */
void player_add(player *p, const voice_world *world, const bank *tables, const bank_table *added);

/* Whether some voice still reads what was in a cell before it was swapped. */
bool player_reads(const player *p, const int16_t *sound);

/* No more voices than that from now on, 1..polyphony; those too many are stolen. */
void player_limit(player *p, const voice_world *world, int voices);

void player_steer(player *p, const voice_world *world);

/* Writes up to VOICE_MAX_FRAMES of stereo. */
void player_render(player *p, const voice_world *world, float *stereo, int frames);

#endif
