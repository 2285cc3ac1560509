/* The keyboard's thread, driven: a script stands in for ALSA's sequencer, a pipe for the DIN cable, a list for the
 * card. keyboard.c is compiled with its calls renamed to those that are defined here (storm_).
 *
 * Commands, a line each, from stdin; after each the events and copies that it led to are printed:
 *   plug CLIENT PORT CAPABILITY TYPE NAME    a port that appears        unplug CLIENT PORT (-1: the client)
 *   event CLIENT PORT TYPE A B C D           note: channel, key, velocity; control: channel, number, value
 *   sysex CLIENT PORT HEX    din HEX    hang_up    overrun    broken    wait MS
 *   map CC PARAMETER LOW HIGH    blend X Y    zone ZONE MEMBERS    meters    translate COUNT SEED */
#define _GNU_SOURCE
#include <alsa/asoundlib.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "keyboard.h"

enum { OWN_CLIENT = 130, OWN_PORT = 3, MAX_PORTS = 64, MAX_EVENTS = 20000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- The sequencer. */

static struct {
    int client, port;
    unsigned capability, type;
    char name[64];
    bool connected;
} ports[MAX_PORTS];

static struct {
    int error;
    snd_seq_event_t event;
    uint8_t sysex[64];
} queue[MAX_EVENTS];
static int port_count, first, end, absent;
static atomic_int turns;
static int sequencer_fd;

int storm_snd_seq_open(snd_seq_t **seq, const char *name, int streams, int mode) {
    if (strcmp(name, "default") != 0 || streams != SND_SEQ_OPEN_INPUT || mode != SND_SEQ_NONBLOCK)
        exit(4);
    *seq = (snd_seq_t *)ports;
    return absent ? -ENOENT : 0;
}

int storm_snd_seq_close(snd_seq_t *seq) {
    pthread_mutex_lock(&lock);
    for (int i = 0; i < port_count; i++)
        ports[i].connected = false;
    pthread_mutex_unlock(&lock);
    return seq == (snd_seq_t *)ports ? 0 : -EINVAL;
}

int storm_snd_seq_set_client_name(snd_seq_t *seq, const char *name) {
    return seq && strcmp(name, "Tetrad") == 0 ? 0 : -EINVAL;
}

int storm_snd_seq_set_client_pool_input(snd_seq_t *seq, size_t events) {
    return seq && events > 0 ? 0 : -EINVAL;
}

int storm_snd_seq_client_id(snd_seq_t *seq) {
    return seq ? OWN_CLIENT : -EINVAL;
}

int storm_snd_seq_create_simple_port(snd_seq_t *seq, const char *name, unsigned capability, unsigned type) {
    bool listens = capability == (SND_SEQ_PORT_CAP_WRITE | SND_SEQ_PORT_CAP_SUBS_WRITE);
    return seq && name[0] && listens && type ? OWN_PORT : -EINVAL;
}

static int find_port(int client, int port) {
    for (int i = 0; i < port_count; i++)
        if (ports[i].client == client && ports[i].port == port)
            return i;
    return -1;
}

int storm_snd_seq_connect_from(snd_seq_t *seq, int own, int client, int port) {
    if (!seq || own != OWN_PORT)
        exit(4);
    if (client == SND_SEQ_CLIENT_SYSTEM)
        return port == SND_SEQ_PORT_SYSTEM_ANNOUNCE ? 0 : -EINVAL;
    pthread_mutex_lock(&lock);
    int at = find_port(client, port);
    if (at < 0 || ports[at].connected)
        exit(5); /* connected twice */
    ports[at].connected = true;
    pthread_mutex_unlock(&lock);
    printf("connect %d:%d\n", client, port);
    return 0;
}

static void fill(snd_seq_port_info_t *info, int at) {
    snd_seq_port_info_set_client(info, ports[at].client);
    snd_seq_port_info_set_port(info, ports[at].port);
    snd_seq_port_info_set_capability(info, ports[at].capability);
    snd_seq_port_info_set_type(info, ports[at].type);
    snd_seq_port_info_set_name(info, ports[at].name);
}

int storm_snd_seq_get_any_port_info(snd_seq_t *seq, int client, int port, snd_seq_port_info_t *info) {
    pthread_mutex_lock(&lock);
    int at = seq ? find_port(client, port) : -1;
    if (at >= 0)
        fill(info, at);
    pthread_mutex_unlock(&lock);
    return at >= 0 ? 0 : -ENOENT;
}

int storm_snd_seq_get_any_client_info(snd_seq_t *seq, int client, snd_seq_client_info_t *info) {
    char name[32];
    snprintf(name, sizeof name, "Client %d", client);
    snd_seq_client_info_set_client(info, client);
    snd_seq_client_info_set_name(info, name);
    return seq ? 0 : -EINVAL;
}

/* The next greater number, as the kernel has it. */
static int next_greater(int last, int (*number)(int at, int of), int of) {
    int next = 1000;
    for (int i = 0; i < port_count; i++)
        if (number(i, of) > last && number(i, of) < next)
            next = number(i, of);
    return next < 1000 ? next : -1;
}

static int client_number(int at, int of) {
    (void)of;
    return ports[at].client;
}

static int port_number(int at, int of) {
    return ports[at].client == of ? ports[at].port : -1;
}

int storm_snd_seq_query_next_client(snd_seq_t *seq, snd_seq_client_info_t *info) {
    int next = seq ? next_greater(snd_seq_client_info_get_client(info), client_number, 0) : -1;
    if (next >= 0)
        snd_seq_client_info_set_client(info, next);
    return next >= 0 ? 0 : -ENOENT;
}

int storm_snd_seq_query_next_port(snd_seq_t *seq, snd_seq_port_info_t *info) {
    int client = snd_seq_port_info_get_client(info), last = snd_seq_port_info_get_port(info);
    int next = seq ? next_greater(last == 255 ? -1 : last, port_number, client) : -1; /* a port is a byte */
    if (next >= 0)
        fill(info, find_port(client, next));
    return next >= 0 ? 0 : -ENOENT;
}

int storm_snd_seq_poll_descriptors(snd_seq_t *seq, struct pollfd *fds, unsigned space, short events) {
    if (!seq || space < 1)
        exit(4);
    *fds = (struct pollfd){.fd = sequencer_fd, .events = events};
    turns++;
    return 1;
}

int storm_snd_seq_event_input(snd_seq_t *seq, snd_seq_event_t **event) {
    static snd_seq_event_t given;
    static uint8_t given_sysex[64];
    uint64_t times;
    int error = -EAGAIN;
    if (!seq || (read(sequencer_fd, &times, sizeof times) < 0 && errno != EAGAIN))
        exit(4);
    pthread_mutex_lock(&lock);
    if (first < end) {
        error = queue[first].error;
        given = queue[first].event;
        memcpy(given_sysex, queue[first].sysex, sizeof given_sysex);
        if (given.type == SND_SEQ_EVENT_SYSEX)
            given.data.ext.ptr = given_sysex;
        first++;
    }
    pthread_mutex_unlock(&lock);
    *event = error < 0 ? NULL : &given;
    return error < 0 ? error : 28;
}

static void put(snd_seq_event_t event, const uint8_t *sysex, int error) {
    pthread_mutex_lock(&lock);
    if (end == MAX_EVENTS)
        exit(6);
    queue[end].error = error;
    queue[end].event = event;
    if (sysex)
        memcpy(queue[end].sysex, sysex, event.data.ext.len);
    end++;
    pthread_mutex_unlock(&lock);
}

/* ---- The card: events and when they arrived. */

static struct {
    uint64_t ns;
    engine_event event;
} sent[MAX_EVENTS];
static int sent_count;
static uint64_t command_ns; /* when the command was given */

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool storm_card_send(card *c, uint64_t arrival_ns, const engine_event *event) {
    pthread_mutex_lock(&lock);
    if (!c || sent_count == MAX_EVENTS)
        exit(6);
    sent[sent_count].ns = arrival_ns;
    sent[sent_count++].event = *event;
    pthread_mutex_unlock(&lock);
    return true;
}

static bool on_time(uint64_t ns) {
    return ns >= command_ns && ns <= now_ns();
}

static void print_all(keyboard *k) {
    static const char *kinds[] = {"message", "host", "plugged", "unplugged"};
    pthread_mutex_lock(&lock);
    for (int i = 0; i < sent_count; i++) {
        const engine_event *e = &sent[i].event;
        printf("event %d %d %d %g %g%s\n", e->kind, e->channel, e->key, (double)e->a, (double)e->b,
               on_time(sent[i].ns) ? "" : " late");
    }
    sent_count = 0;
    pthread_mutex_unlock(&lock);
    keyboard_message message;
    while (keyboard_poll(k, &message)) {
        printf("%s%s ", kinds[message.kind], on_time(message.arrival_ns) ? "" : " late");
        for (int i = 0; i < message.bytes; i++)
            printf(message.kind >= KEYBOARD_PLUGGED ? "%c" : "%02x", message.data[i]);
        printf("\n");
    }
}

/* ---- Commands. */

static int din[2];

static int read_hex(const char *text, uint8_t *bytes) {
    int count = 0;
    for (; text[0] && text[1] && count < 4096; text += 2)
        sscanf(text, "%2hhx", &bytes[count++]);
    return count;
}

static void plug(const char *line) {
    pthread_mutex_lock(&lock);
    int at = port_count++;
    if (at == MAX_PORTS || sscanf(line, "%d %d %u %u %63[^\n]", &ports[at].client, &ports[at].port,
                                  &ports[at].capability, &ports[at].type, ports[at].name) != 5)
        exit(6);
    snd_seq_event_t event = {.type = SND_SEQ_EVENT_PORT_START};
    event.data.addr.client = (uint8_t)ports[at].client;
    event.data.addr.port = (uint8_t)ports[at].port;
    pthread_mutex_unlock(&lock);
    put(event, NULL, 0);
}

static void unplug(const char *line) {
    int client = 0, port = 0;
    sscanf(line, "%d %d", &client, &port);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < port_count; i++)
        if (ports[i].client == client && (port < 0 || ports[i].port == port))
            ports[i--] = ports[--port_count];
    pthread_mutex_unlock(&lock);
    snd_seq_event_t event = {.type = port < 0 ? SND_SEQ_EVENT_CLIENT_EXIT : SND_SEQ_EVENT_PORT_EXIT};
    event.data.addr.client = (uint8_t)client;
    event.data.addr.port = (uint8_t)port;
    put(event, NULL, 0);
}

static void fill_event(snd_seq_event_t *event, int a, int b, int c, int d) {
    if (event->type == SND_SEQ_EVENT_PORT_UNSUBSCRIBED) {
        event->data.connect.sender = (snd_seq_addr_t){(uint8_t)a, (uint8_t)b};
        event->data.connect.dest = (snd_seq_addr_t){(uint8_t)c, (uint8_t)d};
    } else if (snd_seq_ev_is_note_type(event)) {
        event->data.note = (snd_seq_ev_note_t){.channel = (uint8_t)a, .note = (uint8_t)b, .velocity = (uint8_t)c};
    } else {
        event->data.control = (snd_seq_ev_ctrl_t){.channel = (uint8_t)a, .param = (unsigned)b, .value = c};
    }
}

static void command_event(const char *line) {
    int client = 0, port = 0, type = 0, a = 0, b = 0, c = 0, d = 0;
    sscanf(line, "%d %d %d %d %d %d %d", &client, &port, &type, &a, &b, &c, &d);
    snd_seq_event_t event = {.type = (uint8_t)type, .source = {(uint8_t)client, (uint8_t)port}};
    fill_event(&event, a, b, c, d);
    put(event, NULL, 0);
}

/* In events of up to 64 bytes, as the kernel cuts a long one. */
static void command_sysex(const char *line) {
    int client = 0, port = 0, from = 0;
    static uint8_t bytes[4096];
    sscanf(line, "%d %d %n", &client, &port, &from);
    int count = read_hex(line + from, bytes);
    for (int at = 0; at < count; at += 64) {
        snd_seq_event_t event = {.type = SND_SEQ_EVENT_SYSEX, .source = {(uint8_t)client, (uint8_t)port}};
        event.data.ext.len = (unsigned)(count - at < 64 ? count - at : 64);
        put(event, bytes + at, 0);
    }
}

static void command_din(const char *line) {
    static uint8_t bytes[4096];
    int count = read_hex(line, bytes);
    if (write(din[1], bytes, (size_t)count) != count)
        exit(6);
}

static void print_meters(const keyboard *k) {
    keyboard_meters m = keyboard_read_meters(k);
    printf("meters sequencer=%d din=%d sources=%d messages=%llu overruns=%llu ignored=%llu malformed=%llu "
           "not_copied=%llu\n", m.sequencer, m.din, m.sources, (unsigned long long)m.messages,
           (unsigned long long)m.overruns, (unsigned long long)m.ignored, (unsigned long long)m.malformed,
           (unsigned long long)m.not_copied);
}

static uint32_t state;

static int chance(int below) {
    state = state * 1664525u + 1013904223u;
    return (int)(((uint64_t)(state >> 8) * (uint32_t)below) >> 24);
}

/* Events of any type and number; those in range must be the bytes that ALSA's own translation makes of them. */
static void translate(const char *line) {
    int count = 0, seed = 0, same = 0, none = 0, tamed = 0;
    sscanf(line, "%d %d", &count, &seed);
    state = (uint32_t)seed;
    snd_midi_event_t *decoder;
    snd_midi_event_new(64, &decoder);
    snd_midi_event_no_status(decoder, 1);
    for (int i = 0; i < count; i++) {
        snd_seq_event_t event = {.type = (uint8_t)(chance(8) ? 5 + chance(40) : chance(256))};
        bool wild = chance(4) == 0, bend = event.type == SND_SEQ_EVENT_PITCHBEND;
        bool wide = event.type == SND_SEQ_EVENT_CONTROL14 || event.type == SND_SEQ_EVENT_NONREGPARAM
                    || event.type == SND_SEQ_EVENT_REGPARAM || event.type == SND_SEQ_EVENT_SONGPOS;
        bool selects = event.type == SND_SEQ_EVENT_NONREGPARAM || event.type == SND_SEQ_EVENT_REGPARAM;
        int number = chance(selects ? 16384 : 128), value = bend ? chance(16384) - 8192 : chance(wide ? 16384 : 128);
        if (event.type == SND_SEQ_EVENT_CONTROL14 && number >= 32)
            value &= 127; /* it has no fine part */
        if (wild && chance(2))
            number = (int)((unsigned)chance(1 << 24) << 8);
        if (wild)
            value = (int)((unsigned)chance(1 << 24) << 8);
        fill_event(&event, wild ? chance(256) : chance(16), number, value, 0);
        uint8_t bytes[KEYBOARD_EVENT_BYTES], wanted[64];
        int got = keyboard_event_bytes(&event, bytes);
        bool note = event.type != SND_SEQ_EVENT_NOTE && snd_seq_ev_is_note_type(&event);
        long decoded = snd_midi_event_decode(decoder, wanted, sizeof wanted, &event);
        for (int byte = 0; byte < got; byte++)
            if ((bytes[byte] & 0x80) != 0 && byte % 3 != 0)
                exit(7); /* data with the highest bit */
        if (wild || (note && (event.data.note.note > 127 || event.data.note.velocity > 127)))
            tamed += got > 0;
        else if (got == 0)
            none += decoded <= 0 || event.type == SND_SEQ_EVENT_SYSEX || event.type < SND_SEQ_EVENT_NOTEON;
        else if (decoded == got && memcmp(bytes, wanted, (size_t)got) == 0)
            same++;
        else
            printf("differs: type %d\n", event.type);
        if (got == 0 && decoded > 0 && !wild)
            printf("missing: type %d\n", event.type);
    }
    snd_midi_event_free(decoder);
    printf("same %d none %d tamed %d\n", same, none, tamed);
}

static void obey(keyboard *k, const char *command, const char *line) {
    midi_target target = {.parameter = 0};
    int number = 0, parameter = 0;
    float low = 0.0f, high = 0.0f;
    if (strcmp(command, "plug") == 0)
        plug(line);
    else if (strcmp(command, "unplug") == 0)
        unplug(line);
    else if (strcmp(command, "event") == 0)
        command_event(line);
    else if (strcmp(command, "sysex") == 0)
        command_sysex(line);
    else if (strcmp(command, "din") == 0)
        command_din(line);
    else if (strcmp(command, "hang_up") == 0)
        close(din[1]);
    else if (strcmp(command, "overrun") == 0)
        put((snd_seq_event_t){.type = 0}, NULL, -ENOSPC);
    else if (strcmp(command, "broken") == 0)
        put((snd_seq_event_t){.type = 0}, NULL, -ENODEV);
    else if (strcmp(command, "wait") == 0)
        usleep((useconds_t)atoi(line) * 1000);
    else if (strcmp(command, "zone") == 0 && sscanf(line, "%d %d", &number, &parameter) == 2)
        keyboard_set_zone(k, number, parameter);
    else if (strcmp(command, "blend") == 0 && sscanf(line, "%f %f", &low, &high) == 2)
        keyboard_set_blend(k, low, high);
    else if (strcmp(command, "map") == 0 && sscanf(line, "%d %d %f %f", &number, &parameter, &low, &high) == 4) {
        target = (midi_target){.parameter = (uint8_t)parameter, .low = low, .high = high};
        keyboard_map(k, number, target);
    } else if (strcmp(command, "meters") == 0)
        print_meters(k);
    else if (strcmp(command, "translate") == 0)
        translate(line);
    else
        exit(2);
}

/* Two turns later the thread has done all that it was told before. */
static void settle(const char *command) {
    int unread = 1;
    uint64_t once = 1, began_ns = now_ns();
    while (unread && ioctl(din[0], FIONREAD, &unread) == 0)
        usleep(200);
    if (absent || strcmp(command, "broken") == 0) {
        if (write(sequencer_fd, &once, sizeof once) < 0)
            exit(8);
        usleep(30000);
        return;
    }
    for (int until = turns + 2; turns < until;) {
        if (write(sequencer_fd, &once, sizeof once) < 0 || now_ns() - began_ns > 10000000000u)
            exit(8);
        usleep(200);
    }
}

int main(int count, char **arguments) {
    bool connects = !(count > 1 && strstr(arguments[1], "alone"));
    absent = count > 1 && strstr(arguments[1], "absent");
    sequencer_fd = eventfd(0, EFD_NONBLOCK);
    if (pipe(din) < 0)
        return 3;
    keyboard_options options = {.connect = connects, .din_fd = din[0]};
    midi_defaults(&options.midi);
    char line[8192], command[16];
    int from;
    for (int i = 2; i < count; i++) /* there before */
        plug(arguments[i]);
    first = end = 0;
    command_ns = now_ns();
    keyboard *k = keyboard_start((card *)line, &options);
    settle("");
    print_all(k);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "%15s %n", command, &from) < 1)
            continue;
        printf("> %s", line);
        command_ns = now_ns();
        obey(k, command, line + from);
        settle(command);
        print_all(k);
    }
    printf("> stop\n");
    command_ns = now_ns();
    keyboard_stop(k);
    pthread_mutex_lock(&lock); /* the ring is gone; the events stay */
    for (int i = 0; i < sent_count; i++)
        printf("event %d %d %d %g %g\n", sent[i].event.kind, sent[i].event.channel, sent[i].event.key,
               (double)sent[i].event.a, (double)sent[i].event.b);
    pthread_mutex_unlock(&lock);
    return 0;
}
