/* Shared by the load generators: exit on an error, the clock, and the file of requests. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Request heads in the order of their file, each with its empty line. */
static struct { const char *bytes; size_t length; } *requests;
static size_t request_count;

static inline void fail(const char *what) {
    perror(what);
    exit(1);
}

/* Nanoseconds of the monotonic clock. */
static inline uint64_t now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* Reads every request head of a file. Exits if there is none. */
static inline void read_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    size_t length = (size_t)ftell(file), capacity = 0;
    rewind(file);
    char *text = calloc(length + 1, 1);
    if (!text || fread(text, 1, length, file) != length) fail(path);
    fclose(file);
    for (char *from = text, *stop; (stop = strstr(from, "\r\n\r\n")); from = stop + 4) {
        if (request_count == capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            if (!(requests = realloc(requests, capacity * sizeof *requests))) fail("realloc");
        }
        requests[request_count].bytes = from;
        requests[request_count++].length = (size_t)(stop + 4 - from);
    }
    if (!request_count) {
        fprintf(stderr, "%s: no request\n", path);
        exit(1);
    }
}
