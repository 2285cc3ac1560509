/* Stands in for libedgetpu.so.1: a delegate of LiteRT (tflite_plugin_create_delegate of its external delegates) that takes
 * no operation, so that all of them run on the CPU. FAKE_EDGETPU says how it fails: "none" (no stick is there), "crash" and
 * "hang" (a moment after it was loaded). Layout: TfLiteDelegate of tensorflow/lite/core/c/common.h. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct delegate {
    void *data;
    int (*prepare)(void *context, struct delegate *self);
    void *copy_from_handle, *copy_to_handle, *free_handle;
    int64_t flags;
    void *builder;
} delegate;

static const char *failure(void) {
    const char *named = getenv("FAKE_EDGETPU");
    return named ? named : "";
}

static void *fail(void *unused) {
    usleep(300 * 1000);
    if (strcmp(failure(), "crash") == 0)
        kill(getpid(), SIGSEGV);
    if (strcmp(failure(), "hang") == 0)
        kill(getpid(), SIGSTOP);
    return unused;
}

static int prepare(void *context, delegate *self) {
    pthread_t thread;
    (void)context, (void)self;
    return pthread_create(&thread, NULL, fail, NULL);
}

delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count, void (*report)(const char *)) {
    (void)keys, (void)values, (void)count;
    if (strcmp(failure(), "none") == 0) {
        report("no stick");
        return NULL;
    }
    delegate *made = calloc(1, sizeof *made);
    if (made)
        made->prepare = prepare;
    return made;
}

void tflite_plugin_destroy_delegate(delegate *made) {
    free(made);
}
