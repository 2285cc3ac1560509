#define _POSIX_C_SOURCE 200809L
#include "team.h"

#include <pthread.h>
#include <sched.h>

/* Some 100 us, about a phase of a large network. Who is not there by then has lost its processor to another process,
 * and may need ours. */
#define SPINS 2000

typedef struct {
    void (*work)(void *argument, team *t, int member);
    void *argument;
    team team;
    pthread_mutex_t gate; /* held until it is known how many members there are */
} job;

typedef struct {
    job *job;
    int number;
} member;

static void *run_member(void *pointer) {
    member *self = pointer;
    pthread_mutex_lock(&self->job->gate);
    pthread_mutex_unlock(&self->job->gate);
    self->job->work(self->job->argument, &self->job->team, self->number);
    return NULL;
}

void team_run(int size, void (*work)(void *argument, team *t, int member), void *argument) {
    job j = {.work = work, .argument = argument, .gate = PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[TEAM_MOST];
    member members[TEAM_MOST];
    int made = 1;
    pthread_mutex_lock(&j.gate);
    for (; made < size && made < TEAM_MOST; made++) {
        members[made] = (member){&j, made};
        if (pthread_create(&threads[made], NULL, run_member, &members[made]))
            break;
    }
    j.team.size = made;
    pthread_mutex_unlock(&j.gate);
    work(argument, &j.team, 0);
    for (int i = 1; i < made; i++)
        pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&j.gate);
}

static inline void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void team_wait(team *t) {
    if (t->size == 1)
        return;
    unsigned phase = atomic_load(&t->phase);
    if (atomic_fetch_add(&t->arrived, 1) == t->size - 1) {
        atomic_store(&t->arrived, 0);
        atomic_store(&t->phase, phase + 1);
        return;
    }
    for (int spins = 0; atomic_load_explicit(&t->phase, memory_order_acquire) == phase; spins++)
        if (spins < SPINS)
            pause_briefly();
        else
            sched_yield();
}
