#define _GNU_SOURCE
#include "keyboard.h"

#include <alsa/asoundlib.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define SECOND_NS 1000000000u
#define RETRY_MS 1000      /* between two tries to open the sequencer */
#define SENSING_MS 330     /* MIDI 1.0 wants active sensing every 300 ms, give or take a tenth */
#define MS_NS 1000000u
#define POOL_EVENTS 1000   /* that the sequencer keeps for us; a SysEx takes one for each 28 bytes */
#define NAME_BYTES 96
#define MAX_POLLED 8
#define NO_ZONE (-1)

/* Of kernels later than alsa-lib 1.2.9: a port without a device, and one that repeats what its client's others say. */
#define PORT_INACTIVE (1u << 8)
#define PORT_UMP_ENDPOINT (1u << 9)

enum { DIN_CLIENT = -1, FREE = -2 };

/* A port that is heard. What it holds is known, so that it can be let go when the port vanishes. */
typedef struct {
    int client, port; /* client: or DIN_CLIENT, or FREE */
    bool connected;   /* by us */
    char name[NAME_BYTES];
    midi_parser parser;
    uint64_t held[ENGINE_CHANNELS][ENGINE_KEYS / 64];
    uint16_t steered;   /* channels whose wheels or pedals it moved */
    uint64_t sensed_ns; /* the last message since it began active sensing; 0: it has not */
} source;

struct keyboard {
    card *card;
    keyboard_options options;
    midi midi;
    pthread_t thread;
    int wake; /* an eventfd */
    atomic_bool stopping;
    atomic_int zones[MIDI_ZONES]; /* asked for, else NO_ZONE */

    /* The thread's own. */
    snd_seq_t *sequencer;
    int client, port;
    bool din_open;
    source sources[KEYBOARD_SOURCES];
    source *now;         /* whose message is delivered */
    uint64_t arrival_ns; /* of it */
    bool told;           /* to the host, too */

    struct {
        atomic_bool sequencer, din, real_time;
        atomic_int sources;
        atomic_ullong messages, overruns, ignored, malformed, not_copied;
    } meters;
    uint8_t ring[KEYBOARD_RING];
    atomic_uint written, read;
};

/* Before each copy in the ring. */
typedef struct {
    uint64_t arrival_ns;
    uint16_t bytes;
    uint8_t kind;
} copy_head;

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void count(atomic_ullong *meter) {
    atomic_fetch_add_explicit(meter, 1, memory_order_relaxed);
}

/* ---- The sequencer's events as a cable's bytes. */

enum { NOT_MIDI, NOTE, CONTROL, ONE_VALUE, BEND, FINE_CONTROL, PARAMETER, SYSTEM_7, SYSTEM_14, SYSTEM };

static const struct {
    uint8_t form, status;
} translations[256] = {
    [SND_SEQ_EVENT_NOTEON] = {NOTE, 0x90},         [SND_SEQ_EVENT_NOTEOFF] = {NOTE, 0x80},
    [SND_SEQ_EVENT_KEYPRESS] = {NOTE, 0xa0},       [SND_SEQ_EVENT_CONTROLLER] = {CONTROL, 0xb0},
    [SND_SEQ_EVENT_PGMCHANGE] = {ONE_VALUE, 0xc0}, [SND_SEQ_EVENT_CHANPRESS] = {ONE_VALUE, 0xd0},
    [SND_SEQ_EVENT_PITCHBEND] = {BEND, 0xe0},      [SND_SEQ_EVENT_CONTROL14] = {FINE_CONTROL, 0xb0},
    [SND_SEQ_EVENT_NONREGPARAM] = {PARAMETER, 98}, [SND_SEQ_EVENT_REGPARAM] = {PARAMETER, 100},
    [SND_SEQ_EVENT_QFRAME] = {SYSTEM_7, 0xf1},     [SND_SEQ_EVENT_SONGPOS] = {SYSTEM_14, 0xf2},
    [SND_SEQ_EVENT_SONGSEL] = {SYSTEM_7, 0xf3},    [SND_SEQ_EVENT_TUNE_REQUEST] = {SYSTEM, 0xf6},
    [SND_SEQ_EVENT_CLOCK] = {SYSTEM, 0xf8},        [SND_SEQ_EVENT_START] = {SYSTEM, 0xfa},
    [SND_SEQ_EVENT_CONTINUE] = {SYSTEM, 0xfb},     [SND_SEQ_EVENT_STOP] = {SYSTEM, 0xfc},
    [SND_SEQ_EVENT_SENSING] = {SYSTEM, 0xfe},      [SND_SEQ_EVENT_RESET] = {SYSTEM, 0xff},
};

static int within(long long value, int most) {
    return value < 0 ? 0 : value > most ? most : (int)value;
}

static int put(uint8_t *to, int status, int first, int second) {
    to[0] = (uint8_t)status;
    to[1] = (uint8_t)first;
    to[2] = (uint8_t)second;
    return 3;
}

/* A controller of 14 bits is two: the number, and 32 above it the fine part, where the number is below 32. */
static int put_fine_control(uint8_t *to, int status, int number, int value) {
    if (number >= 32)
        return put(to, status, number, within(value, 127));
    int bytes = put(to, status, number, value >> 7);
    return bytes + put(to + bytes, status, number + 32, value & 127);
}

/* Selected by two controllers, which come after each other, and entered by two. */
static int put_parameter(uint8_t *to, int channel, int fine_select, int number, int value) {
    int status = 0xb0 | channel, bytes = put(to, status, fine_select + 1, number >> 7);
    bytes += put(to + bytes, status, fine_select, number & 127);
    bytes += put(to + bytes, status, 6, value >> 7);
    return bytes + put(to + bytes, status, 38, value & 127);
}

int keyboard_event_bytes(const snd_seq_event_t *event, uint8_t bytes[KEYBOARD_EVENT_BYTES]) {
    int form = translations[event->type].form, status = translations[event->type].status;
    const snd_seq_ev_note_t *note = &event->data.note;
    const snd_seq_ev_ctrl_t *control = &event->data.control;
    bool to_channel = form >= NOTE && form <= PARAMETER;
    int channel = form == NOTE ? note->channel : control->channel;
    if (form == NOT_MIDI || (to_channel && channel >= ENGINE_CHANNELS))
        return 0;
    int number = within(control->param, form == PARAMETER ? 16383 : 127), value = within(control->value, 16383);
    switch (form) {
    case NOTE: return put(bytes, status | channel, within(note->note, 127), within(note->velocity, 127));
    case CONTROL: return put(bytes, status | channel, number, within(value, 127));
    case ONE_VALUE: return put(bytes, status | channel, within(value, 127), 0) - 1;
    case BEND:
        value = within((long long)control->value + 8192, 16383);
        return put(bytes, status | channel, value & 127, value >> 7);
    case FINE_CONTROL: return put_fine_control(bytes, status | channel, number, value);
    case PARAMETER: return put_parameter(bytes, channel, status, number, value);
    case SYSTEM_7: return put(bytes, status, within(value, 127), 0) - 1;
    case SYSTEM_14: return put(bytes, status, value & 127, value >> 7);
    default: return put(bytes, status, 0, 0) - 2;
    }
}

/* ---- Copies for the host. */

static void write_ring(keyboard *k, unsigned at, const void *from, unsigned bytes) {
    unsigned first = KEYBOARD_RING - at % KEYBOARD_RING;
    first = first < bytes ? first : bytes;
    memcpy(k->ring + at % KEYBOARD_RING, from, first);
    memcpy(k->ring, (const uint8_t *)from + first, bytes - first);
}

static void read_ring(const keyboard *k, unsigned at, void *to, unsigned bytes) {
    unsigned first = KEYBOARD_RING - at % KEYBOARD_RING;
    first = first < bytes ? first : bytes;
    memcpy(to, k->ring + at % KEYBOARD_RING, first);
    memcpy((uint8_t *)to + first, k->ring, bytes - first);
}

static void copy(keyboard *k, keyboard_kind kind, const void *data, int bytes) {
    copy_head head = {k->arrival_ns, (uint16_t)bytes, (uint8_t)kind};
    unsigned written = atomic_load_explicit(&k->written, memory_order_relaxed);
    unsigned used = written - atomic_load_explicit(&k->read, memory_order_acquire);
    if (used + sizeof head + (unsigned)bytes > KEYBOARD_RING) {
        count(&k->meters.not_copied);
        return;
    }
    write_ring(k, written, &head, sizeof head);
    write_ring(k, written + sizeof head, data, (unsigned)bytes);
    atomic_store_explicit(&k->written, written + (unsigned)sizeof head + (unsigned)bytes, memory_order_release);
}

bool keyboard_poll(keyboard *k, keyboard_message *message) {
    unsigned read = atomic_load_explicit(&k->read, memory_order_relaxed);
    if (atomic_load_explicit(&k->written, memory_order_acquire) == read)
        return false;
    copy_head head;
    read_ring(k, read, &head, sizeof head);
    *message = (keyboard_message){.arrival_ns = head.arrival_ns, .kind = (keyboard_kind)head.kind, .bytes = head.bytes};
    read_ring(k, read + (unsigned)sizeof head, message->data, head.bytes);
    atomic_store_explicit(&k->read, read + (unsigned)sizeof head + head.bytes, memory_order_release);
    return true;
}

static int message_bytes(const midi_message *message, uint8_t data[KEYBOARD_MESSAGE_BYTES]) {
    static const uint8_t of_channel[] = {3, 3, 3, 3, 2, 2, 3}, of_system[] = {1, 2, 3, 2};
    uint8_t status = message->status;
    data[0] = status;
    if (message->sysex) {
        memcpy(data + 1, message->sysex, (size_t)message->sysex_bytes);
        data[message->sysex_bytes + 1] = 0xf7;
        return message->sysex_bytes + 2;
    }
    data[1] = message->data[0];
    data[2] = message->data[1];
    return status < 0xf0 ? of_channel[(status >> 4) - 8] : status < 0xf4 ? of_system[status & 3] : 1;
}

/* ---- Messages to the engine. */

static void emit(void *to, const engine_event *event) {
    keyboard *k = to;
    card_send(k->card, k->arrival_ns, event);
}

static void tell_host(void *to, const midi_message *message) {
    (void)message; /* its copy says so */
    ((keyboard *)to)->told = true;
}

/* What the port holds and has moved. */
static void keep_track(source *s, const midi_message *message) {
    int channel = message->status & 0x0f, key = message->data[0] & 127;
    uint64_t bit = (uint64_t)1 << key % 64, *held = &s->held[channel][key / 64];
    switch (message->status & 0xf0) {
    case 0x80: *held &= ~bit; break;
    case 0x90: *held = message->data[1] ? *held | bit : *held & ~bit; break;
    case 0xb0:
    case 0xd0:
    case 0xe0: s->steered |= (uint16_t)(1u << channel); break;
    default: break;
    }
}

static void receive(void *to, const midi_message *message) {
    keyboard *k = to;
    uint8_t data[KEYBOARD_MESSAGE_BYTES];
    keep_track(k->now, message);
    k->told = false;
    midi_receive(&k->midi, message);
    copy(k, k->told ? KEYBOARD_HOST : KEYBOARD_MESSAGE, data, message_bytes(message, data));
    count(&k->meters.messages);
    if (message->status == 0xfe)
        k->now->sensed_ns = k->arrival_ns;
}

static unsigned malformed(const midi_parser *p) {
    return p->orphans + p->cut + p->too_long;
}

static void take_bytes(keyboard *k, source *s, const uint8_t *bytes, int count_bytes) {
    unsigned before = malformed(&s->parser);
    k->now = s;
    if (s->sensed_ns)
        s->sensed_ns = k->arrival_ns;
    midi_parser_bytes(&s->parser, bytes, count_bytes, receive, k);
    atomic_fetch_add_explicit(&k->meters.malformed, malformed(&s->parser) - before, memory_order_relaxed);
}

/* ---- Ports that come and go. */

/* Its keys go up, and wheels and pedals to rest: a CC 121 does that on each channel where it moved one. */
static void let_go(keyboard *k, source *s) {
    k->now = s;
    for (int channel = 0; channel < ENGINE_CHANNELS; channel++) {
        for (int key = 0; key < ENGINE_KEYS; key++)
            if (s->held[channel][key / 64] >> key % 64 & 1)
                receive(k, &(midi_message){.status = (uint8_t)(0x80 | channel), .data = {(uint8_t)key, 64}});
        if (s->steered >> channel & 1)
            receive(k, &(midi_message){.status = (uint8_t)(0xb0 | channel), .data = {121, 0}});
    }
    s->steered = 0;
    s->sensed_ns = 0;
}

static source *find(keyboard *k, int client, int port) {
    for (source *s = k->sources; s < k->sources + KEYBOARD_SOURCES; s++)
        if (s->client == client && s->port == port)
            return s;
    return NULL;
}

static void count_sources(keyboard *k) {
    int sources = 0;
    for (const source *s = k->sources; s < k->sources + KEYBOARD_SOURCES; s++)
        sources += s->client != FREE;
    k->meters.sources = sources;
}

/* A place for a port, its own or a new one; NULL where all are taken. */
static source *add(keyboard *k, int client, int port, const char *name) {
    source *s = find(k, client, port);
    if (s || !(s = find(k, FREE, 0)))
        return s;
    *s = (source){.client = client, .port = port};
    midi_parser_init(&s->parser);
    snprintf(s->name, sizeof s->name, "%s", name);
    count_sources(k);
    copy(k, KEYBOARD_PLUGGED, s->name, (int)strlen(s->name));
    return s;
}

static void drop(keyboard *k, source *s) {
    let_go(k, s);
    copy(k, KEYBOARD_UNPLUGGED, s->name, (int)strlen(s->name));
    *s = (source){.client = FREE};
    count_sources(k);
}

/* All ports of a client where `port` is -1. */
static void drop_port(keyboard *k, int client, int port) {
    for (source *s = k->sources; s < k->sources + KEYBOARD_SOURCES; s++)
        if (s->client == client && (port < 0 || s->port == port))
            drop(k, s);
}

static void name_port(keyboard *k, int client, const snd_seq_port_info_t *port, char name[NAME_BYTES]) {
    snd_seq_client_info_t *info;
    snd_seq_client_info_alloca(&info);
    bool known = snd_seq_get_any_client_info(k->sequencer, client, info) == 0;
    snprintf(name, NAME_BYTES, "%.40s: %.40s", known ? snd_seq_client_info_get_name(info) : "",
             snd_seq_port_info_get_name(port));
}

static bool is_keyboard(const snd_seq_port_info_t *port) {
    const unsigned readable = SND_SEQ_PORT_CAP_READ | SND_SEQ_PORT_CAP_SUBS_READ;
    const unsigned hardware = SND_SEQ_PORT_TYPE_MIDI_GENERIC | SND_SEQ_PORT_TYPE_HARDWARE;
    unsigned can = snd_seq_port_info_get_capability(port), is = snd_seq_port_info_get_type(port);
    return (can & readable) == readable && (is & hardware) == hardware && !(can & (PORT_INACTIVE | PORT_UMP_ENDPOINT))
           && !(can & SND_SEQ_PORT_CAP_NO_EXPORT);
}

static void connect_port(keyboard *k, const snd_seq_port_info_t *info) {
    int client = snd_seq_port_info_get_client(info), port = snd_seq_port_info_get_port(info);
    source *known = find(k, client, port);
    if (!k->options.connect || client == k->client || (known && known->connected) || !is_keyboard(info))
        return;
    char name[NAME_BYTES];
    name_port(k, client, info, name);
    if (snd_seq_connect_from(k->sequencer, k->port, client, port) < 0)
        return;
    source *s = add(k, client, port, name);
    if (s)
        s->connected = true;
}

static void connect_new(keyboard *k, int client, int port) {
    snd_seq_port_info_t *info;
    snd_seq_port_info_alloca(&info);
    if (snd_seq_get_any_port_info(k->sequencer, client, port, info) == 0)
        connect_port(k, info);
}

static void connect_all(keyboard *k) {
    snd_seq_client_info_t *client;
    snd_seq_port_info_t *port;
    snd_seq_client_info_alloca(&client);
    snd_seq_port_info_alloca(&port);
    snd_seq_client_info_set_client(client, -1);
    while (snd_seq_query_next_client(k->sequencer, client) == 0) {
        snd_seq_port_info_set_client(port, snd_seq_client_info_get_client(client));
        snd_seq_port_info_set_port(port, -1);
        while (snd_seq_query_next_port(k->sequencer, port) == 0)
            connect_port(k, port);
    }
}

/* Of a port that others have connected to ours. */
static source *add_unknown(keyboard *k, int client, int port) {
    source *s = find(k, client, port);
    if (s)
        return s;
    char name[NAME_BYTES] = "";
    snd_seq_port_info_t *info;
    snd_seq_port_info_alloca(&info);
    if (snd_seq_get_any_port_info(k->sequencer, client, port, info) == 0)
        name_port(k, client, info, name);
    return add(k, client, port, name);
}

/* ---- The sequencer. */

static void take_midi(keyboard *k, const snd_seq_event_t *event) {
    uint8_t bytes[KEYBOARD_EVENT_BYTES];
    bool sysex = event->type == SND_SEQ_EVENT_SYSEX;
    int length = sysex ? (int)event->data.ext.len : keyboard_event_bytes(event, bytes);
    source *s = length > 0 ? add_unknown(k, event->source.client, event->source.port) : NULL;
    if (s)
        take_bytes(k, s, sysex ? event->data.ext.ptr : bytes, length);
    else
        count(&k->meters.ignored);
}

static void take_event(keyboard *k, const snd_seq_event_t *event) {
    const snd_seq_addr_t *address = &event->data.addr;
    const snd_seq_connect_t *connection = &event->data.connect;
    switch (event->type) {
    case SND_SEQ_EVENT_PORT_START:
    case SND_SEQ_EVENT_PORT_CHANGE: connect_new(k, address->client, address->port); break;
    case SND_SEQ_EVENT_PORT_EXIT: drop_port(k, address->client, address->port); break;
    case SND_SEQ_EVENT_CLIENT_EXIT: drop_port(k, address->client, -1); break;
    case SND_SEQ_EVENT_PORT_UNSUBSCRIBED:
        if (connection->dest.client == k->client && connection->dest.port == k->port)
            drop_port(k, connection->sender.client, connection->sender.port);
        break;
    case SND_SEQ_EVENT_CLIENT_START:
    case SND_SEQ_EVENT_CLIENT_CHANGE:
    case SND_SEQ_EVENT_PORT_SUBSCRIBED: break;
    default: take_midi(k, event);
    }
}

static void close_sequencer(keyboard *k) {
    if (!k->sequencer)
        return;
    snd_seq_close(k->sequencer);
    k->sequencer = NULL;
    k->meters.sequencer = false;
    for (source *s = k->sources; s < k->sources + KEYBOARD_SOURCES; s++)
        if (s->client >= 0)
            drop(k, s);
}

static void read_sequencer(keyboard *k) {
    snd_seq_event_t *event;
    for (;;) {
        int error = snd_seq_event_input(k->sequencer, &event);
        k->arrival_ns = now_ns();
        if (error >= 0 && event)
            take_event(k, event);
        else if (error == -ENOSPC) { /* its queue ran over */
            count(&k->meters.overruns);
            for (source *s = k->sources; s < k->sources + KEYBOARD_SOURCES; s++)
                if (s->client >= 0)
                    let_go(k, s);
        } else {
            if (error < 0 && error != -EAGAIN && error != -EINTR)
                close_sequencer(k);
            return;
        }
    }
}

static void open_sequencer(keyboard *k) {
    if (snd_seq_open(&k->sequencer, "default", SND_SEQ_OPEN_INPUT, SND_SEQ_NONBLOCK) < 0) {
        k->sequencer = NULL;
        return;
    }
    snd_seq_set_client_name(k->sequencer, "Tetrad");
    snd_seq_set_client_pool_input(k->sequencer, POOL_EVENTS);
    k->client = snd_seq_client_id(k->sequencer);
    k->port = snd_seq_create_simple_port(k->sequencer, "in", SND_SEQ_PORT_CAP_WRITE | SND_SEQ_PORT_CAP_SUBS_WRITE,
                                         SND_SEQ_PORT_TYPE_MIDI_GENERIC | SND_SEQ_PORT_TYPE_SYNTHESIZER
                                             | SND_SEQ_PORT_TYPE_APPLICATION);
    if (k->port < 0 || snd_seq_connect_from(k->sequencer, k->port, SND_SEQ_CLIENT_SYSTEM,
                                            SND_SEQ_PORT_SYSTEM_ANNOUNCE) < 0) {
        close_sequencer(k);
        return;
    }
    k->meters.sequencer = true;
    connect_all(k); /* after the announcements began, so that none is missed between */
}

/* ---- The thread. */

static void read_din(keyboard *k) {
    uint8_t bytes[256];
    ssize_t length = read(k->options.din_fd, bytes, sizeof bytes);
    k->arrival_ns = now_ns();
    source *din = find(k, DIN_CLIENT, 0);
    if (length > 0 && din)
        take_bytes(k, din, bytes, (int)length);
    if (length > 0 || (length < 0 && (errno == EAGAIN || errno == EINTR)))
        return;
    k->din_open = false; /* a USB adapter that was pulled out, as a rule */
    k->meters.din = false;
    if (din)
        drop(k, din);
}

/* A cable that was pulled out: it had said every 300 ms that it is there. */
static void check_sensing(keyboard *k) {
    k->arrival_ns = now_ns();
    for (source *s = k->sources; s < k->sources + KEYBOARD_SOURCES; s++)
        if (s->sensed_ns && k->arrival_ns - s->sensed_ns > (uint64_t)SENSING_MS * MS_NS)
            let_go(k, s);
}

static bool sensing(const keyboard *k) {
    for (const source *s = k->sources; s < k->sources + KEYBOARD_SOURCES; s++)
        if (s->sensed_ns)
            return true;
    return false;
}

static void set_zones(keyboard *k) {
    k->arrival_ns = now_ns();
    for (int zone = 0; zone < MIDI_ZONES; zone++) {
        int members = atomic_exchange(&k->zones[zone], NO_ZONE);
        if (members != NO_ZONE)
            midi_set_zone(&k->midi, zone, members);
    }
}

/* Waits for the next bytes, events or calls, and takes them. */
static void turn(keyboard *k) {
    struct pollfd polled[MAX_POLLED] = {{.fd = k->wake, .events = POLLIN},
                                        {.fd = k->din_open ? k->options.din_fd : -1, .events = POLLIN}};
    int fds = 2;
    if (k->sequencer)
        fds += snd_seq_poll_descriptors(k->sequencer, polled + fds, MAX_POLLED - 2, POLLIN);
    int wait_ms = sensing(k) ? SENSING_MS / 4 : k->sequencer ? -1 : RETRY_MS;
    int ready = poll(polled, (nfds_t)fds, wait_ms);
    uint64_t calls;
    if (ready > 0 && polled[0].revents && read(k->wake, &calls, sizeof calls) > 0)
        set_zones(k);
    if (ready > 0 && polled[1].revents)
        read_din(k);
    if (k->sequencer)
        read_sequencer(k);
    check_sensing(k);
}

static void set_priority(keyboard *k) {
    struct sched_param priority = {.sched_priority = k->options.priority};
    k->meters.real_time = k->options.priority > 0
                          && pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0;
}

static void no_words(const char *file, int line, const char *function, int error, const char *words, va_list values) {
    (void)file, (void)line, (void)function, (void)error, (void)words, (void)values;
}

static void *listen(void *to) {
    keyboard *k = to;
    uint64_t tried_ns = 0;
    set_priority(k);
    snd_lib_error_set_local(no_words);
    k->arrival_ns = now_ns();
    if (k->din_open)
        add(k, DIN_CLIENT, 0, "DIN");
    while (!atomic_load(&k->stopping)) {
        if (!k->sequencer && (tried_ns == 0 || now_ns() - tried_ns >= (uint64_t)RETRY_MS * MS_NS)) {
            open_sequencer(k);
            tried_ns = now_ns();
        }
        turn(k);
    }
    k->arrival_ns = now_ns();
    close_sequencer(k);
    drop_port(k, DIN_CLIENT, -1);
    return NULL;
}

static void wake(keyboard *k) {
    uint64_t once = 1;
    if (write(k->wake, &once, sizeof once) < 0)
        return; /* it is awake: the number is at its end */
}

static void set_up(keyboard *k, card *c, const keyboard_options *options) {
    k->card = c;
    k->options = *options;
    k->din_open = options->din_fd >= 0;
    k->meters.din = k->din_open;
    for (int i = 0; i < KEYBOARD_SOURCES; i++)
        k->sources[i].client = FREE;
    for (int zone = 0; zone < MIDI_ZONES; zone++)
        k->zones[zone] = NO_ZONE;
    midi_config config = options->midi;
    config.emit = emit;
    config.host = tell_host;
    config.to = k;
    midi_init(&k->midi, &config);
}

keyboard *keyboard_start(card *c, const keyboard_options *options) {
    keyboard *k = calloc(1, sizeof *k);
    if (!k || (k->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0) {
        free(k);
        return NULL;
    }
    set_up(k, c, options);
    sigset_t all, before;
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&k->thread, NULL, listen, k);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        return k;
    close(k->wake);
    free(k);
    errno = error;
    return NULL;
}

void keyboard_stop(keyboard *k) {
    if (!k)
        return;
    atomic_store(&k->stopping, true);
    wake(k);
    pthread_join(k->thread, NULL);
    close(k->wake);
    free(k);
}

void keyboard_map(keyboard *k, int controller, midi_target target) {
    midi_map(&k->midi, controller, target);
}

void keyboard_set_blend(keyboard *k, float x, float y) {
    midi_set_blend(&k->midi, x, y);
}

void keyboard_set_zone(keyboard *k, int zone, int members) {
    if (zone < 0 || zone >= MIDI_ZONES || members < 0 || members > 15)
        return;
    atomic_store(&k->zones[zone], members);
    wake(k);
}

keyboard_meters keyboard_read_meters(const keyboard *k) {
    return (keyboard_meters){
        .sequencer = k->meters.sequencer, .din = k->meters.din, .real_time = k->meters.real_time,
        .sources = k->meters.sources, .messages = k->meters.messages, .overruns = k->meters.overruns,
        .ignored = k->meters.ignored, .malformed = k->meters.malformed, .not_copied = k->meters.not_copied,
    };
}
