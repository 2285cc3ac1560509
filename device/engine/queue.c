#include "queue.h"

#include <string.h>

bool queue_send(queue *q, const engine_event *event) {
    unsigned sent = atomic_load_explicit(&q->sent, memory_order_relaxed);
    if (sent - atomic_load_explicit(&q->taken, memory_order_acquire) == QUEUE_RING) {
        atomic_fetch_add_explicit(&q->dropped, 1, memory_order_relaxed);
        return false;
    }
    q->ring[sent % QUEUE_RING] = *event;
    atomic_store_explicit(&q->sent, sent + 1, memory_order_release);
    return true;
}

/* Events mostly come in order: then nothing moves. */
bool queue_put(queue *q, const engine_event *event) {
    if (q->end == QUEUE_WAITING)
        return false;
    int at = q->end++;
    for (; at > q->first && q->waiting[at - 1].frame > event->frame; at--)
        q->waiting[at] = q->waiting[at - 1];
    q->waiting[at] = *event;
    return true;
}

void queue_receive(queue *q) {
    unsigned sent = atomic_load_explicit(&q->sent, memory_order_acquire);
    unsigned taken = atomic_load_explicit(&q->taken, memory_order_relaxed);
    for (; taken != sent; taken++)
        if (!queue_put(q, &q->ring[taken % QUEUE_RING]))
            atomic_fetch_add_explicit(&q->dropped, 1, memory_order_relaxed);
    atomic_store_explicit(&q->taken, taken, memory_order_release);
}

const engine_event *queue_first(const queue *q) {
    return q->first < q->end ? &q->waiting[q->first] : NULL;
}

void queue_pop(queue *q) {
    q->first++;
}

void queue_advance(queue *q, uint32_t frames) {
    int count = q->end - q->first;
    memmove(q->waiting, q->waiting + q->first, (size_t)count * sizeof *q->waiting);
    for (int i = 0; i < count; i++)
        q->waiting[i].frame -= frames;
    q->first = 0;
    q->end = count;
}
