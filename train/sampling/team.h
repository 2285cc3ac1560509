/* Threads that do one job in phases: all wait for each other between two phases. */
#ifndef SAMPLING_TEAM_H
#define SAMPLING_TEAM_H

#include <stdatomic.h>

#define TEAM_MOST 256

typedef struct {
    int size; /* threads that there are: fewer than were asked for where the system gives no more */
    atomic_int arrived;
    atomic_uint phase;
} team;

/* Runs work(argument, team, member) for each member 0..size-1 at once, the caller being member 0. */
void team_run(int size, void (*work)(void *argument, team *t, int member), void *argument);

/* Returns when all members have called it. What any wrote before is seen by all after. */
void team_wait(team *t);

/* The part of `count` things that is a member's: from first up to, not including, end. */
typedef struct {
    int first, end;
} team_part;

static inline team_part team_share(const team *t, int member, int count) {
    return (team_part){(int)((long long)count * member / t->size), (int)((long long)count * (member + 1) / t->size)};
}

#endif
