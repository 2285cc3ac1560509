#include "voice.h"

#include <math.h>

#include "engine.h"

#define STEER_FRAMES 64 /* between two settings of the speed, straight lines between: 1.3 ms at 48 kHz */

_Static_assert(BANK_BLOCK == RESAMPLER_BLOCK, "what is read at once is fed at once");

void voice_trigger(voice *v, const bank_table *table, bank_layers layers, const resampler_filters *filters, int key,
                   float gain, bank_point point, voice_wheels wheels, const envelope_times *times, float rate_hz) {
    double ratio = exp2((key - table->pitch) / 12.0);
    v->key = key;
    v->sounded = v->held_by_pedal = false;
    v->gain = gain;
    v->samples_a_frame_unbent = ratio * ENGINE_BANK_RATE_HZ / rate_hz;
    voice_turn(v, wheels);
    v->steered_frames = 0;
    v->motion = bank_motion_at(table, layers, point);
    knobs_start(&v->knobs, point, ratio);
    reader_start(&v->reader, table, layers);
    vibrato_start(&v->vibrato, STEER_FRAMES / rate_hz, wheels.mod);
    resampler_start(&v->resampler, filters, v->samples_a_frame);
    envelope_trigger(&v->envelope, times, rate_hz);
}

void voice_release(voice *v, float release_ms) {
    envelope_release(&v->envelope, release_ms);
    reader_release(&v->reader, v->knobs.blend);
}

void voice_turn(voice *v, voice_wheels wheels) {
    v->wheels = wheels;
    v->samples_a_frame = v->samples_a_frame_unbent * exp2(wheels.bend_semitones / 12.0);
}

float voice_loudness(const voice *v) {
    return v->gain * v->reader.decay_gain * (v->envelope.stage == ENVELOPE_ATTACK ? 1.0f : v->envelope.level);
}

bool voice_done(const voice *v) {
    /* RESAMPLER_TAPS and two blocks of nothing read behind the end: the last sample has left all filters. */
    return v->envelope.stage == ENVELOPE_DONE
        || reader_done(&v->reader, SHIFT_TAPS + RESAMPLER_TAPS + 2 * RESAMPLER_BLOCK);
}

/* The next RESAMPLER_BLOCK samples of the table, to the resampler. */
static void feed(voice *v, bank_point to) {
    bank_path path;
    float block[RESAMPLER_BLOCK];
    knobs_follow(&v->knobs, to, v->reader.table->grid, &path);
    if (!path.rests)
        v->motion = bank_motion_at(v->reader.table, v->reader.layers, v->knobs.blend);
    reader_read(&v->reader, &path, v->motion.decay_db_per_s, block);
    resampler_feed(&v->resampler, block);
}

static void steer(voice *v) {
    float cents = vibrato_next(&v->vibrato, &v->motion, v->wheels.mod);
    resampler_glide(&v->resampler, v->samples_a_frame * exp2f(cents / 1200.0f), STEER_FRAMES);
    v->steered_frames = STEER_FRAMES;
}

void voice_render(voice *v, bank_point point, float *out, int frames) {
    float loudness[VOICE_MAX_FRAMES];
    for (int done = 0; done < frames;) {
        if (v->steered_frames == 0)
            steer(v);
        int run = v->steered_frames < frames - done ? v->steered_frames : frames - done;
        int came = resampler_render(&v->resampler, out + done, run);
        if (came < run)
            feed(v, point);
        v->steered_frames -= came;
        done += came;
    }
    envelope_render(&v->envelope, loudness, frames);
    for (int i = 0; i < frames; i++)
        out[i] *= v->gain * loudness[i];
    v->sounded = true;
}
