/* A card's thread, driven: an engine of known numbers plays on one of ALSA's user-space devices, on a simulated card or
 * by the clock, while ALSA's calls fail as planned. `card_storm name=value …` prints what the meters say as JSON.
 *
 * card.c is compiled with its calls of ALSA and of the clock renamed to those that are defined here (storm_), so that
 * time may be simulated and each call be made to fail. With STORM_WATCH, what must not be called in the audio thread is
 * interposed and counted. */
#define _GNU_SOURCE
#include <alsa/asoundlib.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "card.h"

#define MAX_STAMPS 20000
#define MAX_PLANS 16
#define PATIENCE_S 60

static struct {
    const char *device, *formats, *rates, *plan;
    const char *until; /* it goes on until that is the state */
    int rate, channels, period, periods, priority;
    long blocks;
    int is_virtual; /* time */
    int simulated;  /* card, over ALSA's null device; in virtual time */
    long jitter_ns; /* of its wake-ups */
    int drift_ppm;  /* of its clock */
    int mmap, lock;
    long cost_ns;        /* to render, of each voice */
    int voices;          /* that want to sound */
    long cheap_from;     /* block from which on they cost a quarter */
    long spike;          /* block that takes three periods */
    int asked_voices;
    int stamps;          /* events are sent, and their frames printed */
    int burst;           /* so many events a block */
    int full;            /* every so many events the engine refuses one */
    int gate;            /* render waits for card_stop() after the last block */
    int guilty;          /* render does what it must not */
    long linger_ms;
} option = {.rate = 48000, .channels = 2, .period = 64, .periods = 4, .blocks = 50, .mmap = 1, .voices = 10,
            .cheap_from = 1L << 40, .spike = -1, .burst = 3};

static card *c;
static sem_t done, gate;

/* ---- Time, and what fails when. */

static atomic_ullong virtual_ns = 1000000000u;

int storm_clock_gettime(clockid_t clock, struct timespec *now) {
    if (!option.is_virtual)
        return clock_gettime(clock, now);
    uint64_t ns = atomic_load(&virtual_ns);
    *now = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    return 0;
}

int storm_clock_nanosleep(clockid_t clock, int flags, const struct timespec *until, struct timespec *rest) {
    if (!option.is_virtual)
        return clock_nanosleep(clock, flags, until, rest);
    uint64_t ns = (uint64_t)until->tv_sec * 1000000000u + (uint64_t)until->tv_nsec;
    if (ns > atomic_load(&virtual_ns))
        atomic_store(&virtual_ns, ns);
    return 0;
}

/* A second is made short, so that a test is. */
int storm_sem_clockwait(sem_t *semaphore, clockid_t clock, const struct timespec *until) {
    (void)until;
    struct timespec soon;
    clock_gettime(clock, &soon);
    soon.tv_nsec += 20000000;
    soon.tv_sec += soon.tv_nsec / 1000000000;
    soon.tv_nsec %= 1000000000;
    return sem_clockwait(semaphore, clock, &soon);
}

int storm_sem_post(sem_t *semaphore) {
    if (option.gate) /* this is card_stop(), as no card is lost */
        sem_post(&gate);
    return sem_post(semaphore);
}

static const struct {
    const char *name;
    int error;
} errors[] = {{"EPIPE", EPIPE}, {"ESTRPIPE", ESTRPIPE}, {"ENODEV", ENODEV}, {"EAGAIN", EAGAIN}, {"EINTR", EINTR},
              {"EBUSY", EBUSY}, {"ENOSYS", ENOSYS}, {"EIO", EIO}, {"SHORT", 0}};

static struct plan {
    char call[24];
    long from, to;
    int error;
} plans[MAX_PLANS];

static struct {
    char call[24];
    long count;
} calls[MAX_PLANS];
static atomic_int failures;

/* "writei:7:EPIPE,open:1-3:ENODEV": calls of that number fail so. SHORT: less is taken than was given. */
static void read_plan(char *text) {
    char *rest = NULL;
    int used = 0;
    for (char *entry = strtok_r(text, ",", &rest); entry; entry = strtok_r(NULL, ",", &rest)) {
        char error[16];
        struct plan *p = &plans[used++];
        int fields = sscanf(entry, "%23[a-z_]:%ld-%ld:%15s", p->call, &p->from, &p->to, error);
        if (fields == 2 && sscanf(entry, "%23[a-z_]:%ld:%15s", p->call, &p->from, error) == 3)
            p->to = p->from;
        else if (fields != 4)
            exit(2);
        for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
            if (strcmp(error, errors[i].name) == 0)
                p->error = errors[i].error;
    }
}

static atomic_flag planning = ATOMIC_FLAG_INIT;

/* 1 as planned, with *error; calls are counted from 1. */
static int plan_of(const char *call, int *error) {
    int i = 0;
    while (calls[i].call[0] && strcmp(calls[i].call, call) != 0)
        i++;
    strcpy(calls[i].call, call);
    long number = ++calls[i].count;
    for (struct plan *p = plans; p < plans + MAX_PLANS; p++)
        if (strcmp(p->call, call) == 0 && number >= p->from && number <= p->to) {
            failures++;
            *error = -p->error;
            return 1;
        }
    return 0;
}

static int planned(const char *call, int *error) {
    while (atomic_flag_test_and_set(&planning))
        ;
    int result = plan_of(call, error);
    atomic_flag_clear(&planning);
    return result;
}

/* ---- What the audio thread calls, watched. */

static _Thread_local int in_alsa;
static _Thread_local int watched; /* this is the audio thread, and it has played a block */
static atomic_int sins;

#ifdef STORM_WATCH
static void count_sin(void) {
    if (watched && !in_alsa)
        atomic_fetch_add(&sins, 1);
}

extern void *__libc_malloc(size_t bytes);
extern void *__libc_calloc(size_t count, size_t bytes);
extern void *__libc_realloc(void *memory, size_t bytes);
extern void __libc_free(void *memory);

void *malloc(size_t bytes) {
    count_sin();
    return __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes) {
    count_sin();
    return __libc_calloc(count, bytes);
}

void *realloc(void *memory, size_t bytes) {
    count_sin();
    return __libc_realloc(memory, bytes);
}

void free(void *memory) {
    count_sin();
    __libc_free(memory);
}

static int (*real_lock)(pthread_mutex_t *mutex), (*real_trylock)(pthread_mutex_t *mutex);
static ssize_t (*real_write)(int fd, const void *from, size_t bytes);

__attribute__((constructor)) static void find_real(void) {
    real_lock = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
    real_trylock = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_trylock");
    real_write = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
}

int pthread_mutex_lock(pthread_mutex_t *mutex) {
    count_sin();
    return real_lock ? real_lock(mutex) : 0;
}

int pthread_mutex_trylock(pthread_mutex_t *mutex) {
    count_sin();
    return real_trylock ? real_trylock(mutex) : 0;
}

ssize_t write(int fd, const void *from, size_t bytes) {
    count_sin();
    return real_write(fd, from, bytes);
}

#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* What must be seen, by turns. */
static void commit_sin(uint64_t block) {
    switch (block % 3) {
    case 0: free(malloc((size_t)option.guilty)); break;
    case 1:
        pthread_mutex_lock(&lock);
        pthread_mutex_unlock(&lock);
        break;
    default:
        if (write(STDERR_FILENO, "", 0) < 0)
            exit(7);
    }
}

/* ---- ALSA's calls. The simulated card takes what it is given and plays it by the virtual clock. */

static struct {
    bool running;
    uint64_t started_ns, written, asleep_ns;
    snd_pcm_uframes_t buffer, period;
} simulation;

static uint32_t chance_state = 1;

static uint32_t chance(uint32_t below) {
    chance_state = chance_state * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(chance_state >> 8) * below) >> 24);
}

/* The card's clock is not the processor's. */
static double simulated_rate(void) {
    return option.rate * (1.0 + option.drift_ppm * 1e-6);
}

static uint64_t simulated_played(void) {
    if (!simulation.running)
        return 0;
    return (uint64_t)((double)(atomic_load(&virtual_ns) - simulation.started_ns) * 1e-9 * simulated_rate());
}

#define CALL(result, call) (in_alsa++, result = (call), in_alsa--, result)

int storm_snd_pcm_open(snd_pcm_t **pcm, const char *name, snd_pcm_stream_t stream, int mode) {
    int error;
    simulation.running = false;
    simulation.written = 0;
    return planned("open", &error) ? error : snd_pcm_open(pcm, name, stream, mode);
}

snd_pcm_sframes_t storm_snd_pcm_avail_update(snd_pcm_t *pcm) {
    int error;
    snd_pcm_sframes_t room;
    if (planned("avail", &error))
        return error;
    if (CALL(room, snd_pcm_avail_update(pcm)) < 0 || !option.simulated)
        return room;
    if (!simulation.buffer)
        snd_pcm_get_params(pcm, &simulation.buffer, &simulation.period);
    uint64_t played = simulated_played();
    if (played > simulation.written)
        return -EPIPE;
    return (snd_pcm_sframes_t)(simulation.buffer - (simulation.written - played));
}

int storm_snd_pcm_wait(snd_pcm_t *pcm, int timeout_ms) {
    int error;
    if (planned("wait", &error))
        return error;
    if (!option.simulated)
        return CALL(error, snd_pcm_wait(pcm, timeout_ms));
    uint64_t wanted = simulation.written + simulation.period - simulation.buffer;
    uint64_t due_ns = simulation.started_ns + (uint64_t)((double)wanted * 1e9 / simulated_rate()) + 1;
    uint64_t now = atomic_load(&virtual_ns);
    due_ns = due_ns > now ? due_ns : now;
    atomic_store(&virtual_ns, due_ns + (option.jitter_ns ? chance((uint32_t)option.jitter_ns) : 0));
    return 1;
}

snd_pcm_sframes_t storm_snd_pcm_writei(snd_pcm_t *pcm, const void *from, snd_pcm_uframes_t frames) {
    int error;
    snd_pcm_sframes_t written;
    if (planned("writei", &error)) {
        if (error < 0)
            return error;
        frames = frames > 5 ? frames - 5 : frames;
    }
    if (CALL(written, snd_pcm_writei(pcm, from, frames)) > 0)
        simulation.written += (uint64_t)written;
    return written;
}

int storm_snd_pcm_mmap_begin(snd_pcm_t *pcm, const snd_pcm_channel_area_t **areas, snd_pcm_uframes_t *offset,
                             snd_pcm_uframes_t *frames) {
    int error;
    if (planned("mmap_begin", &error)) {
        if (error < 0)
            return error;
        *frames = *frames > 5 ? *frames - 5 : *frames;
    }
    return CALL(error, snd_pcm_mmap_begin(pcm, areas, offset, frames));
}

snd_pcm_sframes_t storm_snd_pcm_mmap_commit(snd_pcm_t *pcm, snd_pcm_uframes_t offset, snd_pcm_uframes_t frames) {
    int error;
    snd_pcm_sframes_t written;
    if (planned("mmap_commit", &error))
        return error;
    if (CALL(written, snd_pcm_mmap_commit(pcm, offset, frames)) > 0)
        simulation.written += (uint64_t)written;
    return written;
}

int storm_snd_pcm_start(snd_pcm_t *pcm) {
    int error;
    if (planned("start", &error))
        return error;
    simulation.running = true;
    simulation.started_ns = atomic_load(&virtual_ns);
    return CALL(error, snd_pcm_start(pcm));
}

int storm_snd_pcm_prepare(snd_pcm_t *pcm) {
    int error;
    simulation.running = false;
    simulation.written = 0;
    return planned("prepare", &error) ? error : CALL(error, snd_pcm_prepare(pcm));
}

int storm_snd_pcm_resume(snd_pcm_t *pcm) {
    int error;
    (void)pcm;
    if (simulation.asleep_ns == 0)
        simulation.asleep_ns = atomic_load(&virtual_ns);
    if (planned("resume", &error))
        return error;
    simulation.started_ns += atomic_load(&virtual_ns) - simulation.asleep_ns; /* it has not played meanwhile */
    return 0;
}

int storm_snd_pcm_delay(snd_pcm_t *pcm, snd_pcm_sframes_t *frames) {
    int error;
    if (!option.simulated)
        return CALL(error, snd_pcm_delay(pcm, frames));
    *frames = (snd_pcm_sframes_t)(simulation.written - simulated_played());
    return 0;
}

/* What a card has, made less. */
int storm_snd_pcm_hw_params_set_access(snd_pcm_t *pcm, snd_pcm_hw_params_t *hw, snd_pcm_access_t access) {
    bool mapped = access == SND_PCM_ACCESS_MMAP_INTERLEAVED;
    return mapped && !option.mmap ? -EINVAL : snd_pcm_hw_params_set_access(pcm, hw, access);
}

static bool listed(const char *list, const char *word) {
    const char *at = list ? strstr(list, word) : word;
    size_t length = strlen(word);
    return at && (!list || ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == 0)));
}

int storm_snd_pcm_hw_params_set_format(snd_pcm_t *pcm, snd_pcm_hw_params_t *hw, snd_pcm_format_t format) {
    bool has = listed(option.formats, snd_pcm_format_name(format));
    return has ? snd_pcm_hw_params_set_format(pcm, hw, format) : -EINVAL;
}

static bool has_rate(unsigned rate_hz) {
    char text[16];
    snprintf(text, sizeof text, "%u", rate_hz);
    return listed(option.rates, text);
}

int storm_snd_pcm_hw_params_set_rate(snd_pcm_t *pcm, snd_pcm_hw_params_t *hw, unsigned rate_hz, int direction) {
    return has_rate(rate_hz) ? snd_pcm_hw_params_set_rate(pcm, hw, rate_hz, direction) : -EINVAL;
}

int storm_snd_pcm_hw_params_test_rate(snd_pcm_t *pcm, snd_pcm_hw_params_t *hw, unsigned rate_hz, int direction) {
    return has_rate(rate_hz) ? snd_pcm_hw_params_test_rate(pcm, hw, rate_hz, direction) : -EINVAL;
}

/* ---- The engine: each frame is known by its number. */

struct engine {
    uint64_t frame, block;
    atomic_int limit, voices, least_limit;
};

static uint64_t arrivals[MAX_STAMPS], frames_of[MAX_STAMPS], blocks_of[MAX_STAMPS];
static int arrived, stamped, refused;

static uint64_t period_ns(void) {
    return (uint64_t)option.period * 1000000000u / (uint64_t)option.rate;
}

static void send_stamps(const engine *e) {
    card_clock clock = card_read_clock(c);
    if (clock.frame != e->frame)
        exit(4);
    uint64_t now_ns = option.is_virtual ? atomic_load(&virtual_ns) : clock.ns, n = (uint64_t)option.burst;
    for (uint64_t i = 0; i < n && arrived < MAX_STAMPS; i++) {
        engine_event event = {.frame = 77, .kind = ENGINE_NOTE_ON, .key = (uint8_t)(arrived % 128)};
        arrivals[arrived] = now_ns + period_ns() * i / n / 2;
        arrived += card_send(c, arrivals[arrived], &event);
    }
}

static void render(engine *e, float *out, int frames) {
    if (option.stamps && (long)e->block >= option.stamps && (long)e->block < option.blocks - 2)
        send_stamps(e);
    for (int i = 0; i < frames; i++, e->frame++) {
        int32_t number = (int32_t)(((uint32_t)e->frame * 2654435761u) >> 8) - (1 << 23);
        out[2 * i] = (float)number / (1 << 23);
        out[2 * i + 1] = -0.5f * out[2 * i];
    }
    e->voices = option.voices < e->limit ? option.voices : e->limit;
    long cost_ns = (long)e->block >= option.cheap_from ? option.cost_ns / 4 : option.cost_ns;
    if (option.is_virtual)
        atomic_fetch_add(&virtual_ns, (unsigned long long)(cost_ns * e->voices));
    if ((long)e->block == option.spike)
        atomic_fetch_add(&virtual_ns, 3 * period_ns());
    if (option.guilty && e->block > 0)
        commit_sin(e->block);
    e->block++;
    watched = 1;
    if ((long)e->block == option.blocks)
        sem_post(&done);
    if ((long)e->block >= option.blocks) {
        watched = 0;
        if (option.gate && (long)e->block == option.blocks)
            sem_wait(&gate);
        else if (!option.gate)
            usleep(500);
    }
}

static bool put(engine *e, const engine_event *event) {
    if (option.full && ++refused % option.full == 0)
        return false;
    if (stamped < MAX_STAMPS && event->key == stamped % 128) {
        blocks_of[stamped] = e->frame;
        frames_of[stamped++] = e->frame + event->frame;
    } else
        exit(6); /* out of order, or twice */
    return true;
}

static engine_meters read_meters(const engine *e) {
    return (engine_meters){.voices = e->voices, .limit = e->limit};
}

static void limit_voices(engine *e, int voices) {
    e->limit = voices;
    if (voices < e->least_limit)
        e->least_limit = voices;
}

static const card_calls engine_calls = {render, put, read_meters, limit_voices};

/* ---- The run. */

static void set(char *name, char *value) {
    const struct {
        const char *name;
        const char **text;
        int *number;
        long *large;
    } options[] = {
        {"device", &option.device, 0, 0}, {"formats", &option.formats, 0, 0}, {"rates", &option.rates, 0, 0},
        {"until", &option.until, 0, 0}, {"plan", &option.plan, 0, 0}, {"rate", 0, &option.rate, 0},
        {"channels", 0, &option.channels, 0},
        {"period", 0, &option.period, 0}, {"periods", 0, &option.periods, 0}, {"priority", 0, &option.priority, 0},
        {"blocks", 0, 0, &option.blocks}, {"virtual", 0, &option.is_virtual, 0},
        {"simulated", 0, &option.simulated, 0}, {"jitter_ns", 0, 0, &option.jitter_ns},
        {"drift_ppm", 0, &option.drift_ppm, 0}, {"mmap", 0, &option.mmap, 0},
        {"lock", 0, &option.lock, 0}, {"cost_ns", 0, 0, &option.cost_ns}, {"voices", 0, &option.voices, 0},
        {"cheap_from", 0, 0, &option.cheap_from}, {"spike", 0, 0, &option.spike},
        {"asked_voices", 0, &option.asked_voices, 0}, {"stamps", 0, &option.stamps, 0}, {"full", 0, &option.full, 0},
        {"burst", 0, &option.burst, 0}, {"gate", 0, &option.gate, 0}, {"guilty", 0, &option.guilty, 0},
        {"linger_ms", 0, 0, &option.linger_ms},
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (strcmp(options[i].name, name) != 0)
            continue;
        if (options[i].text)
            *options[i].text = value;
        else if (options[i].number)
            *options[i].number = atoi(value);
        else
            *options[i].large = atol(value);
        return;
    }
    exit(2);
}

static const char *states[] = {"stopped", "clock", "running", "absent"};

static void print_meters(const char *when) {
    char problem[CARD_PROBLEM_BYTES];
    card_meters m = card_read_meters(c);
    card_problem(c, problem);
    printf("\"%s\": {\"state\": \"%s\", \"format\": \"%s\", \"channels\": %d, \"period\": %d, \"periods\": %d, "
           "\"mapped\": %d, \"real_time\": %d, \"locked\": %d, \"blocks\": %llu, \"frames\": %llu, \"xruns\": %llu, "
           "\"suspends\": %llu, \"losses\": %llu, \"late\": %llu, \"dropped\": %llu, \"load\": %g, \"worst_load\": %g, "
           "\"voices\": %d, \"strained\": %d, \"problem\": \"%s\"}, ",
           when, states[m.state], card_format_name(m.format), m.channels, m.period_frames, m.periods, m.mapped,
           m.real_time, m.locked, (unsigned long long)m.blocks, (unsigned long long)m.frames,
           (unsigned long long)m.xruns, (unsigned long long)m.suspends, (unsigned long long)m.losses,
           (unsigned long long)m.late, (unsigned long long)m.dropped, (double)m.load, (double)m.worst_load, m.voices,
           m.strained, problem);
}

static void print_array(const char *name, const uint64_t *values, int values_count) {
    printf("\"%s\": [", name);
    for (int i = 0; i < values_count; i++)
        printf("%s%llu", i ? ", " : "", (unsigned long long)values[i]);
    printf("], ");
}

/* Waits until all blocks are played and the state is the one that is waited for. */
static bool played(void) {
    struct timespec latest;
    clock_gettime(CLOCK_MONOTONIC, &latest);
    latest.tv_sec += PATIENCE_S;
    if (sem_clockwait(&done, CLOCK_MONOTONIC, &latest) < 0)
        return false;
    for (int waits = 0; option.until && strcmp(states[card_read_meters(c).state], option.until) != 0; waits++) {
        if (waits == PATIENCE_S * 100)
            return false;
        usleep(10000);
    }
    return true;
}

int main(int count, char **arguments) {
    static engine e = {.limit = 64, .least_limit = 1000};
    for (int i = 1; i < count; i++) {
        char *value = strchr(arguments[i], '=');
        if (!value)
            return 2;
        *value = 0;
        set(arguments[i], value + 1);
    }
    if (option.plan)
        read_plan((char *)option.plan);
    sem_init(&done, 0, 0);
    sem_init(&gate, 0, 0);
    c = card_create(&e, &engine_calls);
    if (option.asked_voices)
        card_limit_voices(c, option.asked_voices);
    card_options options = {.device = option.device, .rate_hz = option.rate, .channels = option.channels,
                            .period_frames = option.period, .periods = option.periods, .priority = option.priority,
                            .lock_memory = option.lock};
    int error = card_start(c, &options), again = error ? 0 : card_start(c, &options);
    if (error == 0 && !played())
        return 3;
    usleep((useconds_t)option.linger_ms * 1000);
    printf("{\"error\": %d, \"again\": %d, ", error, again);
    print_meters("playing");
    uint64_t before_ns = atomic_load(&virtual_ns);
    card_stop(c);
    print_meters("stopped");
    print_array("arrivals", arrivals, arrived);
    print_array("stamps", frames_of, stamped);
    print_array("stamp_blocks", blocks_of, stamped);
    printf("\"stop_ns\": %llu, \"failures\": %d, \"sins\": %d, \"limit\": %d, \"least_limit\": %d}\n",
           (unsigned long long)(atomic_load(&virtual_ns) - before_ns), (int)failures, (int)sins, (int)e.limit,
           (int)e.least_limit);
    card_destroy(c);
    return 0;
}
