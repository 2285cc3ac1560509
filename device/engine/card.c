/* Three parts: a card, opened and described; the audio thread, which plays on it or by the clock; the thread that opens
 * and closes. A card (pcm) belongs to one of the threads at a time and changes hands by an atomic pointer. */
#define _GNU_SOURCE /* sem_clockwait() */
#include "card.h"

#include <alsa/asoundlib.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#define SECOND_NS 1000000000u
#define RETRY_NS SECOND_NS          /* between two tries to open a card */
#define STALL_NS (SECOND_NS / 2)    /* a card that takes nothing for so long is gone */
#define RESUME_NS (SECOND_NS / 100) /* between two questions whether a suspended card is awake */
#define MAX_RECOVERIES 100          /* in a row; a card that plays no period between them is gone */
#define CATCH_UP_NS (SECOND_NS / 10) /* time that is made up for by the clock; more is skipped */
#define STACK_BYTES (64 * 1024)     /* of the audio thread, made resident before it plays */

#define FADE_MS 10.0f
#define STOP_NS (SECOND_NS / 10)

#define DRIFT 3e-4   /* of a card's clock against the processor's; crystals are within a third of it */
#define EVENTS 1024  /* of MIDI, between two blocks */
#define FUTURE_NS SECOND_NS /* an arrival later than that is none */

#define HOT 0.8f  /* of a period: more is too little room for what else the processor does */
#define COOL 0.6f
#define HEAT_A_BLOCK 3 /* of a hot block; any other cools by 1 */
#define TOO_HOT 6      /* two hot blocks, close together */
#define RAISE_MS 250   /* between two raises of the limit */
#define MIN_VOICES 8   /* fewer would not make the processor's time, and a chord should sound */

static const int rates_hz[CARD_RATES] = {16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000};

static const struct {
    snd_pcm_format_t alsa;
    const char *name;
} formats[SAMPLE_FORMATS] = {
    [SAMPLE_S32] = {SND_PCM_FORMAT_S32_LE, "S32_LE"},       [SAMPLE_S24] = {SND_PCM_FORMAT_S24_LE, "S24_LE"},
    [SAMPLE_S24_3] = {SND_PCM_FORMAT_S24_3LE, "S24_3LE"},   [SAMPLE_FLOAT] = {SND_PCM_FORMAT_FLOAT_LE, "FLOAT_LE"},
    [SAMPLE_S16] = {SND_PCM_FORMAT_S16_LE, "S16_LE"},
};

/* A card that is open. */
typedef struct {
    snd_pcm_t *handle;
    sample_format format;
    int channels, period_frames, periods;
    bool mapped;
    sample_dither dither;
    uint8_t *converted; /* a period, where it is not mapped */
    snd_pcm_uframes_t buffer_frames, filled; /* filled: before it started */
    bool started;
    int recoveries; /* since it last played a period */
    int error;      /* with which it was lost */
} pcm;

typedef struct {
    uint64_t arrival_ns;
    engine_event event;
} arrived_event;

struct card {
    engine *engine;
    const card_calls *calls;
    card_options options;
    char device[CARD_NAME_BYTES]; /* empty: by the clock */
    bool started;
    pthread_t audio, opener;
    sem_t wake; /* the opener: a card is lost, or all stops */
    atomic_ullong stopped_ns; /* when that was asked for; 0: it was not */
    _Atomic(pcm *) coming, gone;
    pthread_mutex_t problem_lock; /* of the opener and those who ask, never of the audio thread */
    char problem[CARD_PROBLEM_BYTES];

    arrived_event ring[EVENTS];
    atomic_uint sent, taken;
    atomic_int asked_voices; /* 0: not asked, the engine's own */
    bool lent; /* a card to the audio thread; the opener's own */

    /* The audio thread's own. */
    pcm *pcm;
    uint64_t frames; /* rendered */
    uint64_t block_ns, last_event_frame;
    uint64_t next_block_ns; /* expected; 0: not known */
    uint64_t pace_origin_ns, pace_frames; /* by the clock, from the origin on */
    float gain;
    int heat, cool_frames;
    int wanted_voices, guarded_voices; /* without the guard, 0: not known; what there is time for, 0: all */
    int told_voices;                   /* to the engine; 0: nothing */
    bool sounds;                       /* the last block did */
    float stereo[2 * CARD_MAX_PERIOD];

    struct {
        atomic_int state, format, channels, period_frames, periods, voices;
        atomic_bool mapped, real_time, locked, strained;
        atomic_ullong blocks, frames, xruns, suspends, losses, late, dropped, sounds_since_ns;
        _Atomic float load, worst_load;
    } meters;
    struct {
        atomic_uint version; /* odd: it is being written */
        atomic_ullong ns, frame;
    } clock;
};

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static struct timespec as_timespec(uint64_t ns) {
    return (struct timespec){.tv_sec = (time_t)(ns / SECOND_NS), .tv_nsec = (long)(ns % SECOND_NS)};
}

static void sleep_until(uint64_t ns) {
    struct timespec until = as_timespec(ns);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static uint64_t duration_ns(uint64_t frames, int rate_hz) {
    uint64_t rate = (uint64_t)rate_hz;
    return frames / rate * SECOND_NS + frames % rate * SECOND_NS / rate;
}

static void count(atomic_ullong *meter) { /* one thread writes it */
    atomic_store_explicit(meter, atomic_load_explicit(meter, memory_order_relaxed) + 1, memory_order_relaxed);
}

/* ---- A card: opened and described. These take memory and time. */

static _Thread_local char alsa_words[CARD_NAME_BYTES]; /* the first that ALSA had to say, which names the cause */

static void keep_words(const char *file, int line, const char *function, int error, const char *words, va_list values) {
    (void)file, (void)line, (void)function, (void)error;
    if (!alsa_words[0])
        vsnprintf(alsa_words, sizeof alsa_words, words, values);
}

static void no_words(const char *file, int line, const char *function, int error, const char *words, va_list values) {
    (void)file, (void)line, (void)function, (void)error, (void)words, (void)values;
}

static int open_handle(const char *device, snd_pcm_t **handle) {
    alsa_words[0] = 0;
    snd_local_error_handler_t before = snd_lib_error_set_local(keep_words);
    int error = snd_pcm_open(handle, device, SND_PCM_STREAM_PLAYBACK, SND_PCM_NONBLOCK);
    snd_lib_error_set_local(before);
    return error;
}

static void describe(snd_pcm_t *handle, card_description *d) {
    snd_pcm_hw_params_t *hw;
    snd_pcm_hw_params_alloca(&hw);
    if ((d->error = -snd_pcm_hw_params_any(handle, hw)) > 0)
        return;
    d->error = 0;
    for (int i = 0; i < CARD_RATES; i++)
        if (snd_pcm_hw_params_test_rate(handle, hw, (unsigned)rates_hz[i], 0) == 0)
            d->rates_hz[d->rates++] = rates_hz[i];
    for (int i = 0; i < SAMPLE_FORMATS; i++)
        d->formats[i] = snd_pcm_hw_params_test_format(handle, hw, formats[i].alsa) == 0;
    unsigned least = 0, most = 0;
    snd_pcm_hw_params_get_channels_min(hw, &least);
    snd_pcm_hw_params_get_channels_max(hw, &most);
    d->least_channels = (int)least;
    d->most_channels = most > CARD_MAX_CHANNELS ? CARD_MAX_CHANNELS : (int)most;
    snd_pcm_uframes_t shortest = 0, longest = 0;
    snd_pcm_hw_params_get_period_size_min(hw, &shortest, NULL);
    snd_pcm_hw_params_get_period_size_max(hw, &longest, NULL);
    d->least_period = shortest < CARD_MIN_PERIOD ? CARD_MIN_PERIOD : (int)shortest;
    d->most_period = longest > CARD_MAX_PERIOD ? CARD_MAX_PERIOD : (int)longest;
}

card_description card_describe(const char *device) {
    card_description d = {.error = 0};
    snprintf(d.device, sizeof d.device, "%s", device);
    snprintf(d.name, sizeof d.name, "%s", device);
    snd_pcm_t *handle;
    if ((d.error = -open_handle(device, &handle)) > 0)
        return d;
    describe(handle, &d);
    snd_pcm_close(handle);
    return d;
}

static void list_devices(snd_ctl_t *control, void (*tell)(void *to, const card_description *description), void *to) {
    snd_ctl_card_info_t *card;
    snd_pcm_info_t *info;
    snd_ctl_card_info_alloca(&card);
    snd_pcm_info_alloca(&info);
    if (snd_ctl_card_info(control, card) < 0)
        return;
    for (int device = -1; snd_ctl_pcm_next_device(control, &device) == 0 && device >= 0;) {
        snd_pcm_info_set_device(info, (unsigned)device);
        snd_pcm_info_set_stream(info, SND_PCM_STREAM_PLAYBACK);
        if (snd_ctl_pcm_info(control, info) < 0)
            continue; /* it only records */
        char name[CARD_NAME_BYTES];
        snprintf(name, sizeof name, "hw:CARD=%s,DEV=%d", snd_ctl_card_info_get_id(card), device);
        card_description d = card_describe(name);
        snprintf(d.name, sizeof d.name, "%.40s, %.40s", snd_ctl_card_info_get_name(card), snd_pcm_info_get_name(info));
        tell(to, &d);
    }
}

void card_list(void (*tell)(void *to, const card_description *description), void *to) {
    snd_local_error_handler_t before = snd_lib_error_set_local(no_words);
    for (int card = -1; snd_card_next(&card) == 0 && card >= 0;) {
        char name[32];
        snd_ctl_t *control;
        snprintf(name, sizeof name, "hw:%d", card);
        if (snd_ctl_open(&control, name, SND_CTL_NONBLOCK) < 0)
            continue;
        list_devices(control, tell, to);
        snd_ctl_close(control);
    }
    snd_lib_error_set_local(before);
}

const char *card_format_name(sample_format format) {
    return formats[format].name;
}

static void explain(card *c, const char *format, ...) {
    va_list values;
    va_start(values, format);
    pthread_mutex_lock(&c->problem_lock);
    vsnprintf(c->problem, sizeof c->problem, format, values);
    pthread_mutex_unlock(&c->problem_lock);
    va_end(values);
}

/* As many words as there is room for, after those that are there. */
static void append(char *text, size_t room, const char *format, ...) {
    size_t used = strlen(text);
    va_list values;
    va_start(values, format);
    vsnprintf(text + used, room - used, format, values);
    va_end(values);
}

static void explain_rate(card *c, const card_description *d) {
    char text[CARD_PROBLEM_BYTES / 2] = "";
    for (int i = 0; i < d->rates; i++)
        append(text, sizeof text, "%s%d", i ? ", " : "", d->rates_hz[i]);
    explain(c, "%s plays %s Hz, not %d", c->device, d->rates ? text : "other rates than these: 16000..192000",
            c->options.rate_hz);
}

static void explain_format(card *c) {
    char text[CARD_PROBLEM_BYTES / 2] = "";
    for (int i = 0; i < SAMPLE_FORMATS; i++)
        append(text, sizeof text, "%s%s", i ? ", " : "", formats[i].name);
    explain(c, "%s takes none of %s (plug%s may convert)", c->device, text, c->device);
}

/* False, with the problem explained, where the card has no such rate or no format that is known here. */
static bool choose(card *c, pcm *p, snd_pcm_hw_params_t *hw) {
    snd_pcm_t *handle = p->handle;
    p->mapped = snd_pcm_hw_params_set_access(handle, hw, SND_PCM_ACCESS_MMAP_INTERLEAVED) == 0;
    if (!p->mapped && snd_pcm_hw_params_set_access(handle, hw, SND_PCM_ACCESS_RW_INTERLEAVED) < 0) {
        explain(c, "%s does not take interleaved frames (plug%s may convert)", c->device, c->device);
        return false;
    }
    int format = 0;
    while (format < SAMPLE_FORMATS && snd_pcm_hw_params_set_format(handle, hw, formats[format].alsa) < 0)
        format++;
    if (format == SAMPLE_FORMATS) {
        explain_format(c);
        return false;
    }
    p->format = (sample_format)format;
    if (snd_pcm_hw_params_set_rate(handle, hw, (unsigned)c->options.rate_hz, 0) < 0) {
        card_description d = {.error = 0};
        describe(handle, &d);
        explain_rate(c, &d);
        return false;
    }
    return true;
}

/* The nearest numbers that the card has; less than 0 where it has none that do. */
static int set_sizes(const card_options *o, pcm *p, snd_pcm_hw_params_t *hw) {
    unsigned channels = (unsigned)o->channels;
    snd_pcm_uframes_t period = (snd_pcm_uframes_t)o->period_frames, most = CARD_MAX_PERIOD;
    int error, direction = 0;
    snd_pcm_hw_params_set_period_size_max(p->handle, hw, &most, &direction); /* what has longer ones is refused below */
    direction = 0;
    if ((error = snd_pcm_hw_params_set_channels_near(p->handle, hw, &channels)) < 0
        || (error = snd_pcm_hw_params_set_period_size_near(p->handle, hw, &period, &direction)) < 0)
        return error;
    snd_pcm_uframes_t buffer = period * (snd_pcm_uframes_t)o->periods;
    if ((error = snd_pcm_hw_params_set_buffer_size_near(p->handle, hw, &buffer)) < 0
        || (error = snd_pcm_hw_params(p->handle, hw)) < 0
        || (error = snd_pcm_hw_params_get_period_size(hw, &period, &direction)) < 0
        || (error = snd_pcm_hw_params_get_buffer_size(hw, &buffer)) < 0)
        return error;
    if (channels > CARD_MAX_CHANNELS || period > CARD_MAX_PERIOD || buffer < 2 * period)
        return -EINVAL;
    p->channels = (int)channels;
    p->period_frames = (int)period;
    p->periods = (int)(buffer / period);
    p->buffer_frames = buffer;
    return 0;
}

/* It starts when it is told to, and wakes when there is room for a period. */
static int set_waking(pcm *p) {
    snd_pcm_sw_params_t *sw;
    snd_pcm_sw_params_alloca(&sw);
    snd_pcm_uframes_t never;
    int error;
    if ((error = snd_pcm_sw_params_current(p->handle, sw)) < 0
        || (error = snd_pcm_sw_params_get_boundary(sw, &never)) < 0
        || (error = snd_pcm_sw_params_set_start_threshold(p->handle, sw, never)) < 0
        || (error = snd_pcm_sw_params_set_avail_min(p->handle, sw, (snd_pcm_uframes_t)p->period_frames)) < 0)
        return error;
    return snd_pcm_sw_params(p->handle, sw);
}

static bool set_up(card *c, pcm *p) {
    snd_pcm_hw_params_t *hw;
    snd_pcm_hw_params_alloca(&hw);
    int error = snd_pcm_hw_params_any(p->handle, hw);
    if (error >= 0 && !choose(c, p, hw))
        return false;
    if (error < 0 || (error = set_sizes(&c->options, p, hw)) < 0 || (error = set_waking(p)) < 0
        || (error = snd_pcm_prepare(p->handle)) < 0) {
        explain(c, "%s cannot be set up: %s", c->device, snd_strerror(error));
        return false;
    }
    p->converted = malloc((size_t)(p->period_frames * p->channels * sample_bytes[p->format]));
    return p->converted != NULL;
}

static void close_card(pcm *p) {
    if (!p)
        return;
    snd_pcm_close(p->handle);
    free(p->converted);
    free(p);
}

/* NULL, with the problem explained, where that does not go. */
static pcm *open_card(card *c) {
    pcm *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    int error = open_handle(c->device, &p->handle);
    if (error < 0) {
        bool more = alsa_words[0] != 0;
        explain(c, "%s: %s%s%s%s", c->device, snd_strerror(error), more ? " (" : "", alsa_words, more ? ")" : "");
        free(p);
        return NULL;
    }
    snd_local_error_handler_t before = snd_lib_error_set_local(no_words);
    bool opened = set_up(c, p);
    snd_lib_error_set_local(before);
    if (!opened) {
        close_card(p);
        return NULL;
    }
    explain(c, "%s", "");
    return p;
}

/* ---- The audio thread: nothing from here to its end takes memory or waits for a lock; ALSA's own calls on a hw device
 * are system calls. */

static bool stopping(const card *c) {
    return atomic_load_explicit(&c->stopped_ns, memory_order_relaxed) != 0;
}

static void set_state(card *c, card_state state) {
    atomic_store_explicit(&c->meters.state, state, memory_order_relaxed);
}

static void restart_pace(card *c) {
    c->pace_origin_ns = now_ns();
    c->pace_frames = 0;
}

static void lose_card(card *c, int error) {
    c->pcm->error = -error;
    atomic_store(&c->gone, c->pcm); /* empty till now: the opener takes one back before it hands out the next */
    c->pcm = NULL;
    count(&c->meters.losses);
    set_state(c, CARD_ABSENT);
    restart_pace(c);
    sem_post(&c->wake);
}

static void take_card(card *c) {
    if (c->pcm || !atomic_load_explicit(&c->coming, memory_order_relaxed))
        return;
    pcm *p = c->pcm = atomic_exchange(&c->coming, NULL);
    atomic_store_explicit(&c->meters.format, p->format, memory_order_relaxed);
    atomic_store_explicit(&c->meters.channels, p->channels, memory_order_relaxed);
    atomic_store_explicit(&c->meters.period_frames, p->period_frames, memory_order_relaxed);
    atomic_store_explicit(&c->meters.periods, p->periods, memory_order_relaxed);
    atomic_store_explicit(&c->meters.mapped, p->mapped, memory_order_relaxed);
    set_state(c, CARD_RUNNING);
}

/* 0 where a card that was suspended is ready for frames again. */
static int resume(pcm *p) {
    uint64_t give_up_ns = now_ns() + STALL_NS;
    int error;
    while ((error = snd_pcm_resume(p->handle)) == -EAGAIN && now_ns() < give_up_ns)
        sleep_until(now_ns() + RESUME_NS);
    return error;
}

/* True where the card plays on after this error; else it is lost. */
static bool recover(card *c, int error) {
    pcm *p = c->pcm;
    bool once_more = ++p->recoveries <= MAX_RECOVERIES && (error == -EPIPE || error == -ESTRPIPE);
    if (once_more)
        count(error == -EPIPE ? &c->meters.xruns : &c->meters.suspends);
    if (once_more && error == -ESTRPIPE && resume(p) == 0)
        return true;
    if (once_more)
        error = snd_pcm_prepare(p->handle);
    if (!once_more || error < 0) {
        lose_card(c, error);
        return false;
    }
    p->started = false;
    p->filled = 0;
    return true;
}

/* Where a card asks for patience, but would have the processor go round for it. */
static void nap(const card *c) {
    sleep_until(now_ns() + duration_ns((uint64_t)c->pcm->period_frames, c->options.rate_hz) / 8);
}

/* Waits until so many frames find room; less than 0 where something is wrong. */
static int await_room(const card *c, snd_pcm_uframes_t frames) {
    pcm *p = c->pcm;
    uint64_t began_ns = 0;
    for (;;) {
        snd_pcm_sframes_t room = snd_pcm_avail_update(p->handle);
        if (room < 0)
            return (int)room;
        if ((snd_pcm_uframes_t)room >= frames)
            return 0;
        if (began_ns == 0)
            began_ns = now_ns();
        else if (now_ns() - began_ns > STALL_NS)
            return -ETIMEDOUT;
        else /* some plugins wake before there is room for a period */
            nap(c);
        int ready = snd_pcm_wait(p->handle, (int)(STALL_NS / 1000000));
        if (ready <= 0 && ready != -EINTR)
            return ready < 0 ? ready : -ETIMEDOUT;
    }
}

/* A block's start is where the card has room for it: a wake-up is late by chance but never early, so what is earliest,
 * counted in periods, is right. The expected one gets later by DRIFT, or a slow card's would be left behind. */
static void time_block(card *c, double period_ns) {
    uint64_t ns = now_ns(), next_ns = c->next_block_ns;
    bool known = next_ns != 0 && ns < next_ns + (uint64_t)period_ns;
    c->block_ns = known && next_ns < ns ? next_ns : ns;
    c->next_block_ns = c->block_ns + (uint64_t)(period_ns * (1.0 + DRIFT));
}

/* False where the card is lost. */
static bool await_card(card *c) {
    int error;
    while ((error = await_room(c, (snd_pcm_uframes_t)c->pcm->period_frames)) < 0)
        if (!recover(c, error))
            return false;
    if (c->pcm->started)
        c->pcm->recoveries = 0;
    else
        c->next_block_ns = 0; /* the first blocks follow each other without a wait */
    time_block(c, (double)c->pcm->period_frames * SECOND_NS / c->options.rate_hz);
    return true;
}

static void await_clock(card *c) {
    uint64_t due_ns = c->pace_origin_ns + duration_ns(c->pace_frames, c->options.rate_hz);
    uint64_t ns = now_ns();
    if (ns > due_ns + CATCH_UP_NS) {
        restart_pace(c);
        due_ns = c->pace_origin_ns;
    } else if (ns < due_ns)
        sleep_until(due_ns);
    c->pace_frames += (uint64_t)c->options.period_frames;
    c->next_block_ns = 0;
    c->block_ns = due_ns;
}

static void publish_clock(card *c) {
    unsigned version = atomic_load_explicit(&c->clock.version, memory_order_relaxed);
    atomic_store_explicit(&c->clock.version, version + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&c->clock.ns, c->block_ns, memory_order_relaxed);
    atomic_store_explicit(&c->clock.frame, c->frames, memory_order_relaxed);
    atomic_store_explicit(&c->clock.version, version + 2, memory_order_release);
}

/* The frame, counted from the block's first, of what arrived at a time. A block has the events of the period before it:
 * so their distances are kept, and all wait equally long. */
static uint32_t frame_of(card *c, uint64_t arrival_ns, int period_frames) {
    int64_t since_ns = (int64_t)(arrival_ns - c->block_ns), rate = c->options.rate_hz;
    if (since_ns < -(int64_t)FUTURE_NS || since_ns > (int64_t)FUTURE_NS)
        since_ns = 0;
    int64_t frame = period_frames + (since_ns * rate + (int64_t)SECOND_NS / 2) / (int64_t)SECOND_NS;
    uint64_t at = c->frames + (frame > 0 ? (uint64_t)frame : 0);
    if (at < c->last_event_frame) /* clocks are corrected; an order is not */
        at = c->last_event_frame;
    c->last_event_frame = at;
    return (uint32_t)(at - c->frames);
}

static void pass_events(card *c, int period_frames) {
    unsigned sent = atomic_load_explicit(&c->sent, memory_order_acquire);
    unsigned taken = atomic_load_explicit(&c->taken, memory_order_relaxed);
    for (; taken != sent; taken++) {
        const arrived_event *arrived = &c->ring[taken % EVENTS];
        engine_event event = arrived->event;
        event.frame = frame_of(c, arrived->arrival_ns, period_frames);
        if (!c->calls->put(c->engine, &event))
            break; /* the engine has no room: with the next block */
    }
    atomic_store_explicit(&c->taken, taken, memory_order_release);
}

static void limit_voices(card *c) {
    int asked = atomic_load_explicit(&c->asked_voices, memory_order_relaxed);
    if (asked)
        c->wanted_voices = asked;
    bool strained = c->guarded_voices && c->guarded_voices < c->wanted_voices;
    int limit = strained ? c->guarded_voices : c->wanted_voices;
    if (limit && limit != c->told_voices)
        c->calls->limit_voices(c->engine, limit);
    c->told_voices = limit;
    limit = limit ? limit : c->calls->read_meters(c->engine).limit;
    atomic_store_explicit(&c->meters.voices, limit, memory_order_relaxed);
    atomic_store_explicit(&c->meters.strained, strained, memory_order_relaxed);
}

/* An eighth fewer than sound now. */
static void lower_voices(card *c) {
    engine_meters engine = c->calls->read_meters(c->engine);
    int limit = c->guarded_voices ? c->guarded_voices : engine.limit;
    int from = engine.voices < limit ? engine.voices : limit;
    int fewer = from - (from + 7) / 8;
    if (from <= MIN_VOICES)
        return;
    if (!c->guarded_voices && !atomic_load_explicit(&c->asked_voices, memory_order_relaxed))
        c->wanted_voices = engine.limit;
    c->guarded_voices = fewer > MIN_VOICES ? fewer : MIN_VOICES;
}

static void raise_voices(card *c) {
    int wanted = c->wanted_voices;
    c->guarded_voices += wanted / 32 > 1 ? wanted / 32 : 1;
    if (c->guarded_voices >= wanted)
        c->guarded_voices = 0;
}

/* Fewer voices instead of an xrun; slowly more where there is room. */
static void guard(card *c, float load, int frames) {
    c->heat = load > HOT ? c->heat + HEAT_A_BLOCK : c->heat > 0 ? c->heat - 1 : 0;
    c->cool_frames = load < COOL ? c->cool_frames + frames : 0;
    if (c->heat >= TOO_HOT) {
        lower_voices(c);
        c->heat = 0;
    } else if (c->guarded_voices && c->cool_frames >= RAISE_MS * c->options.rate_hz / 1000) {
        raise_voices(c);
        c->cool_frames = 0;
    }
}

static void fade_out(card *c, int frames) {
    float step = 1000.0f / (FADE_MS * (float)c->options.rate_hz);
    for (int i = 0; i < frames; i++) {
        c->gain = c->gain > step ? c->gain - step : 0.0f;
        c->stereo[2 * i] *= c->gain;
        c->stereo[2 * i + 1] *= c->gain;
    }
}

static void render_block(card *c, int frames) {
    publish_clock(c);
    pass_events(c, frames);
    limit_voices(c);
    uint64_t began_ns = now_ns();
    c->calls->render(c->engine, c->stereo, frames);
    float load = (float)(now_ns() - began_ns) / (float)duration_ns((uint64_t)frames, c->options.rate_hz);
    if (stopping(c))
        fade_out(c, frames);
    guard(c, load, frames);
    c->frames += (uint64_t)frames;
    atomic_store_explicit(&c->meters.load, load, memory_order_relaxed);
    if (load > atomic_load_explicit(&c->meters.worst_load, memory_order_relaxed))
        atomic_store_explicit(&c->meters.worst_load, load, memory_order_relaxed);
    if (load > 1.0f)
        count(&c->meters.late);
    count(&c->meters.blocks);
    atomic_store_explicit(&c->meters.frames, c->frames, memory_order_relaxed);
}

/* Converts to where the card reads; how many frames, or what is wrong. */
static snd_pcm_sframes_t write_mapped(pcm *p, const float *stereo, int frames) {
    const snd_pcm_channel_area_t *areas;
    snd_pcm_uframes_t offset, room = (snd_pcm_uframes_t)frames;
    int error = snd_pcm_mmap_begin(p->handle, &areas, &offset, &room);
    if (error < 0)
        return error;
    uint8_t *to = (uint8_t *)areas[0].addr + (areas[0].first + offset * areas[0].step) / 8;
    sample_convert(p->format, p->channels, stereo, (int)room, to, &p->dither);
    return snd_pcm_mmap_commit(p->handle, offset, room);
}

static snd_pcm_sframes_t write_some(pcm *p, const float *stereo, int done, int frames) {
    if (p->mapped)
        return write_mapped(p, stereo + 2 * done, frames - done);
    const uint8_t *from = p->converted + done * p->channels * sample_bytes[p->format];
    return snd_pcm_writei(p->handle, from, (snd_pcm_uframes_t)(frames - done));
}

/* A full card is told to play. */
static void start_full(card *c) {
    pcm *p = c->pcm;
    if (p->started || p->filled + (snd_pcm_uframes_t)p->period_frames <= p->buffer_frames)
        return;
    int error = snd_pcm_start(p->handle);
    if (error < 0)
        recover(c, error);
    else
        p->started = true;
}

/* The whole block, where the card is not lost meanwhile. */
static void write_block(card *c, int frames) {
    pcm *p = c->pcm;
    if (!p->mapped)
        sample_convert(p->format, p->channels, c->stereo, frames, p->converted, &p->dither);
    for (int done = 0; done < frames;) {
        snd_pcm_sframes_t written = write_some(p, c->stereo, done, frames);
        if (written == 0 || written == -EAGAIN || written == -EINTR) {
            nap(c);
            written = ++p->recoveries <= MAX_RECOVERIES ? 0 : -ETIMEDOUT;
        }
        if (written < 0 && !recover(c, (int)written))
            return;
        if (written > 0) {
            done += (int)written;
            p->filled += (snd_pcm_uframes_t)written;
        }
    }
    start_full(c);
}

static bool is_silent(const float *stereo, int frames) {
    for (int i = 0; i < 2 * frames; i++)
        if (stereo[i] != 0.0f)
            return false;
    return true;
}

/* After a block was handed over. */
static void time_sound(card *c, int frames) {
    bool sounds = !is_silent(c->stereo, frames);
    if (sounds && !c->sounds)
        atomic_store_explicit(&c->meters.sounds_since_ns, now_ns(), memory_order_relaxed);
    c->sounds = sounds;
}

/* What the card has is played, and a period of silence behind it, in what is left of the time for stopping. */
static void drain(card *c) {
    snd_pcm_sframes_t behind = 0;
    memset(c->stereo, 0, sizeof c->stereo);
    if (c->pcm && await_card(c))
        write_block(c, c->pcm->period_frames);
    if (c->pcm && !c->pcm->started)
        snd_pcm_start(c->pcm->handle);
    if (!c->pcm || snd_pcm_delay(c->pcm->handle, &behind) < 0 || behind <= 0)
        return;
    uint64_t latest_ns = atomic_load(&c->stopped_ns) + STOP_NS;
    uint64_t played_ns = now_ns() + duration_ns((uint64_t)behind, c->options.rate_hz);
    sleep_until(played_ns < latest_ns ? played_ns : latest_ns);
}

static void set_priority(card *c) {
    struct sched_param priority = {.sched_priority = c->options.priority};
    bool asked = priority.sched_priority > 0;
    bool allowed = asked && pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0;
    atomic_store(&c->meters.real_time, allowed);
}

static void touch_stack(void) {
    volatile char stack[STACK_BYTES];
    for (size_t i = 0; i < sizeof stack; i += 1024)
        stack[i] = 0;
}

static void *play(void *to) {
    card *c = to;
    set_priority(c);
    touch_stack();
    snd_lib_error_set_local(no_words);
    restart_pace(c);
    while (c->gain > 0.0f) {
        take_card(c);
        if (c->pcm && !await_card(c))
            continue;
        if (!c->pcm)
            await_clock(c);
        int frames = c->pcm ? c->pcm->period_frames : c->options.period_frames;
        render_block(c, frames);
        if (c->pcm)
            write_block(c, frames);
        time_sound(c, frames);
    }
    drain(c);
    return NULL;
}

/* ---- The thread that opens and closes. */

/* False where a second has passed without a call. */
static bool called(card *c) {
    struct timespec until = as_timespec(now_ns() + RETRY_NS);
    int result;
    while ((result = sem_clockwait(&c->wake, CLOCK_MONOTONIC, &until)) < 0 && errno == EINTR)
        ;
    return result == 0;
}

static void lend_card(card *c) {
    pcm *p = open_card(c);
    atomic_store(&c->coming, p);
    c->lent = p != NULL;
}

static void *keep_open(void *to) {
    card *c = to;
    while (!stopping(c)) {
        bool lost = called(c);
        pcm *gone = atomic_exchange(&c->gone, NULL);
        if (gone) {
            explain(c, "%s was lost: %s", c->device, snd_strerror(-gone->error));
            close_card(gone);
            c->lent = false;
        }
        if (!c->lent && !lost && !stopping(c))
            lend_card(c);
    }
    return NULL;
}

/* ---- What others call. */

card *card_create(engine *e, const card_calls *calls) {
    card *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->engine = e;
    c->calls = calls;
    pthread_mutex_init(&c->problem_lock, NULL);
    sem_init(&c->wake, 0, 0);
    return c;
}

void card_destroy(card *c) {
    if (!c)
        return;
    card_stop(c);
    sem_destroy(&c->wake);
    pthread_mutex_destroy(&c->problem_lock);
    free(c);
}

/* What comes to be mapped later is locked, too, but only where no limit would then refuse it. */
static bool lock_memory(void) {
    struct rlimit limit;
    bool unlimited = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY;
    return mlockall(unlimited ? MCL_CURRENT | MCL_FUTURE : MCL_CURRENT) == 0;
}

static bool within(int value, int least, int most) {
    return value >= least && value <= most;
}

static bool options_fit(const card_options *o) {
    return within(o->rate_hz, ENGINE_MIN_RATE_HZ, ENGINE_MAX_RATE_HZ) && within(o->channels, 1, CARD_MAX_CHANNELS)
           && within(o->period_frames, CARD_MIN_PERIOD, CARD_MAX_PERIOD) && within(o->periods, 2, CARD_MAX_PERIODS)
           && within(o->priority, 0, sched_get_priority_max(SCHED_FIFO))
           && (!o->device || strlen(o->device) < CARD_NAME_BYTES);
}

static void reset_meters(card *c) {
    atomic_ullong *counts[] = {&c->meters.blocks, &c->meters.frames, &c->meters.xruns, &c->meters.suspends,
                               &c->meters.losses, &c->meters.late, &c->meters.dropped, &c->meters.sounds_since_ns};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        atomic_store(counts[i], 0);
    atomic_int *of_card[] = {&c->meters.format, &c->meters.channels, &c->meters.periods, &c->meters.voices};
    for (size_t i = 0; i < sizeof of_card / sizeof *of_card; i++)
        atomic_store(of_card[i], 0);
    c->meters.period_frames = c->options.period_frames;
    c->meters.mapped = c->meters.real_time = c->meters.strained = false;
    c->meters.load = c->meters.worst_load = 0.0f;
}

static void reset(card *c, const card_options *options) {
    bool none = !options->device || !options->device[0] || strcmp(options->device, "null") == 0;
    c->options = *options;
    snprintf(c->device, sizeof c->device, "%s", none ? "" : options->device);
    c->options.device = c->device;
    c->frames = c->last_event_frame = c->next_block_ns = 0;
    c->gain = 1.0f;
    c->heat = c->cool_frames = 0;
    c->sounds = false;
    c->wanted_voices = c->guarded_voices = c->told_voices = 0;
    c->lent = false;
    atomic_store(&c->taken, atomic_load(&c->sent)); /* what came while nothing played is over */
    atomic_store(&c->stopped_ns, 0);
    reset_meters(c);
    explain(c, "%s", "");
}

/* The new threads take no signals: those are the program's. */
static int start_threads(card *c) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&c->audio, NULL, play, c);
    if (error == 0 && c->device[0] && (error = pthread_create(&c->opener, NULL, keep_open, c)) != 0) {
        atomic_store(&c->stopped_ns, now_ns());
        pthread_join(c->audio, NULL);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static void close_all(card *c) {
    close_card(c->pcm);
    close_card(atomic_exchange(&c->coming, NULL));
    close_card(atomic_exchange(&c->gone, NULL));
    c->pcm = NULL;
    set_state(c, CARD_STOPPED);
}

int card_start(card *c, const card_options *options) {
    if (c->started)
        return EALREADY;
    if (!options_fit(options))
        return EINVAL;
    reset(c, options);
    c->meters.locked = options->lock_memory && lock_memory();
    set_state(c, c->device[0] ? CARD_ABSENT : CARD_CLOCK);
    if (c->device[0])
        lend_card(c);
    int error = start_threads(c);
    if (error != 0)
        close_all(c);
    c->started = error == 0;
    return error;
}

void card_stop(card *c) {
    if (!c->started)
        return;
    atomic_store(&c->stopped_ns, now_ns());
    sem_post(&c->wake);
    pthread_join(c->audio, NULL);
    if (c->device[0])
        pthread_join(c->opener, NULL);
    while (sem_trywait(&c->wake) == 0)
        ;
    close_all(c);
    if (c->guarded_voices)
        c->calls->limit_voices(c->engine, c->wanted_voices);
    c->started = false;
}

bool card_send(card *c, uint64_t arrival_ns, const engine_event *event) {
    unsigned sent = atomic_load_explicit(&c->sent, memory_order_relaxed);
    if (sent - atomic_load_explicit(&c->taken, memory_order_acquire) == EVENTS) {
        atomic_fetch_add_explicit(&c->meters.dropped, 1, memory_order_relaxed);
        return false;
    }
    c->ring[sent % EVENTS] = (arrived_event){arrival_ns, *event};
    atomic_store_explicit(&c->sent, sent + 1, memory_order_release);
    return true;
}

void card_limit_voices(card *c, int voices) {
    atomic_store(&c->asked_voices, voices < 1 ? 1 : voices);
}

void card_forget_worst(card *c) {
    atomic_store(&c->meters.worst_load, 0.0f);
}

card_meters card_read_meters(const card *c) {
    return (card_meters){
        .state = (card_state)c->meters.state, .format = (sample_format)c->meters.format,
        .channels = c->meters.channels, .period_frames = c->meters.period_frames, .periods = c->meters.periods,
        .mapped = c->meters.mapped, .real_time = c->meters.real_time, .locked = c->meters.locked,
        .blocks = c->meters.blocks, .frames = c->meters.frames, .xruns = c->meters.xruns,
        .suspends = c->meters.suspends, .losses = c->meters.losses, .late = c->meters.late,
        .dropped = c->meters.dropped, .sounds_since_ns = c->meters.sounds_since_ns, .load = c->meters.load,
        .worst_load = c->meters.worst_load, .voices = c->meters.voices, .strained = c->meters.strained,
    };
}

card_clock card_read_clock(const card *c) {
    for (;;) {
        unsigned version = atomic_load_explicit(&c->clock.version, memory_order_acquire);
        card_clock clock = {atomic_load_explicit(&c->clock.ns, memory_order_relaxed),
                            atomic_load_explicit(&c->clock.frame, memory_order_relaxed)};
        atomic_thread_fence(memory_order_acquire);
        if (version % 2 == 0 && version == atomic_load_explicit(&c->clock.version, memory_order_relaxed))
            return clock;
    }
}

void card_problem(card *c, char text[CARD_PROBLEM_BYTES]) {
    pthread_mutex_lock(&c->problem_lock);
    memcpy(text, c->problem, CARD_PROBLEM_BYTES);
    pthread_mutex_unlock(&c->problem_lock);
    bool lost = atomic_load(&c->meters.state) == CARD_ABSENT && atomic_load(&c->meters.losses) > 0;
    if (!text[0] && lost) /* the opener has not closed it yet */
        snprintf(text, CARD_PROBLEM_BYTES, "%s was lost", c->device);
}
