/* One thread renders, one sends events, one hands over banks and cells: for the thread sanitizer. Beside it, what may
 * wait is interposed: the rendering thread must call none of it (compiled with WATCHED).
 * Ends with 0; with 4 where the rendering thread called what it may not, and says what. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "engine.h"

#define GRID 3
#define COLUMNS 8
#define SAMPLES (COLUMNS * ENGINE_COLUMN_SAMPLES)
#ifndef BLOCKS
#define BLOCKS 3000
#endif

static _Thread_local bool rendering;

#ifdef WATCHED
static void forbidden(const char *what) {
    if (!rendering)
        return;
    rendering = false;
    syscall(SYS_write, 2, what, strlen(what));
    _exit(4);
}

#define PARAMETERS(...) __VA_ARGS__
#define WATCH(type, name, parameters, arguments) \
    type name(parameters) { \
        static type (*next)(parameters); \
        forbidden(#name "\n"); \
        if (!next) \
            *(void **)&next = dlsym(RTLD_NEXT, #name); \
        return next(arguments); \
    }

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void __libc_free(void *);
void *malloc(size_t bytes) { forbidden("malloc\n"); return __libc_malloc(bytes); }
void *calloc(size_t n, size_t bytes) { forbidden("calloc\n"); return __libc_calloc(n, bytes); }
void *realloc(void *p, size_t bytes) { forbidden("realloc\n"); return __libc_realloc(p, bytes); }
void free(void *p) { forbidden("free\n"); __libc_free(p); }
WATCH(void *, aligned_alloc, PARAMETERS(size_t a, size_t b), PARAMETERS(a, b))
WATCH(int, pthread_mutex_lock, PARAMETERS(pthread_mutex_t *m), PARAMETERS(m))
WATCH(int, pthread_mutex_trylock, PARAMETERS(pthread_mutex_t *m), PARAMETERS(m))
WATCH(int, pthread_cond_wait, PARAMETERS(pthread_cond_t *c, pthread_mutex_t *m), PARAMETERS(c, m))
WATCH(int, pthread_cond_signal, PARAMETERS(pthread_cond_t *c), PARAMETERS(c))
WATCH(int, sem_wait, PARAMETERS(sem_t *s), PARAMETERS(s))
WATCH(int, sem_post, PARAMETERS(sem_t *s), PARAMETERS(s))
WATCH(ssize_t, write, PARAMETERS(int f, const void *p, size_t n), PARAMETERS(f, p, n))
WATCH(ssize_t, read, PARAMETERS(int f, void *p, size_t n), PARAMETERS(f, p, n))
WATCH(int, nanosleep, PARAMETERS(const struct timespec *a, struct timespec *b), PARAMETERS(a, b))
WATCH(int, sched_yield, PARAMETERS(void), )
WATCH(int, puts, PARAMETERS(const char *s), PARAMETERS(s))
#endif

static engine *e;
static atomic_bool stop;
static int16_t sounds[2][GRID * GRID * SAMPLES];
static float levels[GRID * GRID * COLUMNS], motion[ENGINE_CORNERS * 4];

static uint32_t chance(uint32_t *state, uint32_t below) {
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(*state >> 8) * below) >> 24);
}

static void *send_events(void *unused) {
    uint32_t state = 1;
    while (!atomic_load(&stop)) {
        engine_event event = {.frame = chance(&state, 200), .channel = (uint8_t)chance(&state, 17),
                              .kind = (uint8_t)(chance(&state, 3) ? chance(&state, 2) : chance(&state, ENGINE_EVENT_KINDS)),
                              .key = (uint8_t)chance(&state, 129), .a = (float)chance(&state, 101) / 100.0f, .b = 0.5f};
        engine_send(e, &event);
    }
    return unused;
}

static engine_table table_of(int pitch, int which) {
    return (engine_table){.pitch = pitch, .samples = SAMPLES, .loop_start = SAMPLES / 4, .loop_samples = SAMPLES / 2,
                          .cells = sounds[which], .levels = levels, .motion = motion};
}

static engine_bank *make_bank(int which) {
    static const int velocity = 100;
    engine_table table = table_of(60, which);
    return engine_bank_create(&velocity, 1, &table, 1, GRID);
}

/* What comes back is freed while the others go on. */
static void *change_banks(void *first) {
    uint32_t state = 2;
    engine_bank *newest = first, *before = NULL;
    while (!atomic_load(&stop)) {
        engine_bank *back = engine_unload(e), *bank;
        engine_bank_destroy(back);
        before = back == before ? NULL : before;
        if (!before && (bank = make_bank((int)chance(&state, 2)))) {
            before = newest;
            newest = bank;
            if ((back = engine_load(e, bank)))
                engine_bank_destroy(back);
            before = back == before ? NULL : before;
        }
        engine_cell cell = {.bank = newest ? engine_bank_number(newest) : 0, .pitch = 60, .levels = levels,
                            .row = (int)chance(&state, GRID), .column = (int)chance(&state, GRID),
                            .sound = sounds[chance(&state, 2)] + chance(&state, GRID * GRID) * SAMPLES};
        engine_swap_cell(e, &cell);
        engine_table table = table_of((int)chance(&state, 128), (int)chance(&state, 2));
        if (newest && chance(&state, 3) == 0)
            engine_add_table(e, newest, &table);
        while (engine_swapped_cell(e, &cell))
            ;
        engine_limit_voices(e, 1 + (int)chance(&state, 40));
        engine_read_meters(e);
        usleep(chance(&state, 1000));
    }
    return newest;
}

/* clang's real-time sanitizer stops where such a function calls what may wait. */
#ifdef __has_feature
#if __has_feature(realtime_sanitizer)
#define REAL_TIME __attribute__((nonblocking))
#endif
#endif
#ifndef REAL_TIME
#define REAL_TIME
#endif

static void render(float *out, int frames) REAL_TIME;

static void render(float *out, int frames) REAL_TIME {
    rendering = true;
    engine_render(e, out, frames);
    rendering = false;
}

int main(void) {
    static float out[2 * 256];
    pthread_t sender, changer;
    uint32_t state = 3;
    void *last;
    for (size_t i = 0; i < sizeof sounds / sizeof **sounds; i++)
        sounds[0][i] = (int16_t)((int)chance(&state, 65536) - 32768);
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        levels[i] = 0.5f;
    if (!(e = engine_create(48000, 32)))
        return 3;
    pthread_create(&sender, NULL, send_events, NULL);
    engine_bank *first = make_bank(0);
    engine_load(e, first);
    pthread_create(&changer, NULL, change_banks, first);
    for (int block = 0; block < BLOCKS; block++)
        render(out, (int)chance(&state, 256));
    atomic_store(&stop, true);
    pthread_join(sender, NULL);
    pthread_join(changer, &last);
    return 0;
}
