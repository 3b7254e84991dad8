/* Sends clicks at a fixed rate on kept connections and times each: an open loop. wrk is a closed loop: its percentiles start
 * at a moment that it chooses after the last answer.
 *
 * usage: steady PORT REQUESTS RATE SECONDS CONNECTIONS TIMES      gcc -O2 -o steady steady.c
 *
 * REQUESTS holds request heads, each ended by its empty line, sent in turn. Request i is due i/RATE seconds after the
 * first. It is timed from the moment this program sees that it is due (if all connections are taken it waits, timed) to the
 * last byte of the answer, which is a 302, perhaps with a body of a stated length. TIMES gets each one's nanoseconds as 32 bits, in the
 * order of the answers. One line of JSON goes to stdout. `late` is the delay between the due
 * time and the moment this program saw it; it is not part of a time. Real-time class where that is allowed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

enum { EVENTS = 256, BUFFER = 16 * 1024 };

struct connection {
    int fd;
    size_t got;      /* bytes of the answer so far */
    uint64_t since;  /* when its request was seen to be due */
    char answer[BUFFER + 1];  /* ended by a 0 */
};

static uint64_t *since, *times, *lates;  /* by request; by answer; by request */

static void wrong(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void *room(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail("calloc");
    return memory;
}

static int connect_to(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof at) < 0) fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) fail("fcntl");
    return fd;
}

static const char *stand_apart(void) {
    struct sched_param first = {.sched_priority = 1};
    mlockall(MCL_CURRENT | MCL_FUTURE);
    prctl(PR_SET_TIMERSLACK, 1);
    if (!sched_setscheduler(0, SCHED_FIFO, &first)) return "real-time";
    return setpriority(PRIO_PROCESS, 0, -20) ? "none" : "nice -20";
}

static void send_request(struct connection *to, uint64_t number) {
    size_t length = requests[number % request_count].length;
    to->since = since[number];
    to->got = 0;
    if (write(to->fd, requests[number % request_count].bytes, length) != (ssize_t)length) fail("write");
}

/* Whether the answer is whole. */
static int receive(struct connection *from) {
    ssize_t got = read(from->fd, from->answer + from->got, BUFFER - from->got);
    if (got < 0 && errno == EAGAIN) return 0;
    if (got < 0) fail("read");
    if (got == 0) wrong("the server closed a connection, or its answer is too long");
    from->got += (size_t)got;
    from->answer[from->got] = 0;
    const char *end = strstr(from->answer, "\r\n\r\n");
    if (!end) return 0;
    const char *length = strcasestr(from->answer, "\r\ncontent-length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    if (from->got < (size_t)(end + 4 - from->answer) + body) return 0;
    if (memcmp(from->answer, "HTTP/1.1 302", 12)) wrong("an answer is not 302");
    return 1;
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: steady PORT REQUESTS RATE SECONDS CONNECTIONS TIMES\n");
        return 64;
    }
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    int count = atoi(argv[5]), idle = 0, next = 0;  /* connections without a request, and the one that has waited longest */
    uint64_t all = (uint64_t)(rate * seconds), seen = 0, sent = 0, answered = 0;
    if (!(rate > 0) || !all || count < 1) wrong("rate, seconds and connections are above 0");
    read_requests(argv[2]);
    since = room(all, sizeof *since), times = room(all, sizeof *times), lates = room(all, sizeof *lates);

    struct connection *connections = room((size_t)count, sizeof *connections), **free_ones = room((size_t)count, sizeof *free_ones);
    int epoll = epoll_create1(0);
    if (epoll < 0) fail("epoll_create1");
    for (int i = 0; i < count; i++) {
        connections[i].fd = connect_to(atoi(argv[1]));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &event) < 0) fail("epoll_ctl");
        free_ones[idle++] = &connections[i];
    }
    const char *class = stand_apart();
    struct timespec settle = {.tv_nsec = 200000000};
    nanosleep(&settle, NULL);  /* the server has accepted them all by now */

    uint64_t start = now(), deadline = start + (uint64_t)(seconds * 1e9) + 30000000000u;
    while (answered < all) {
        uint64_t at = now(), due;
        for (; seen < all && (due = start + (uint64_t)(seen * (1e9 / rate))) <= at; seen++) {
            since[seen] = at;
            lates[seen] = at - due;
        }
        for (; sent < seen && idle; sent++, idle--, next = (next + 1) % count) send_request(free_ones[next], sent);
        if (at > deadline) wrong("answers are missing 30 s after the end");
        int64_t left = seen < all ? (int64_t)(start + (uint64_t)(seen * (1e9 / rate))) - (int64_t)now() : 1000000000;
        if (left < 0) left = 0;
        struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        struct epoll_event events[EVENTS];
        int ready = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
        if (ready < 0 && errno != EINTR) fail("epoll_pwait2");
        for (int i = 0; i < ready; i++) {
            struct connection *from = events[i].data.ptr;
            if (!receive(from)) continue;
            times[answered++] = now() - from->since;
            free_ones[(next + idle++) % count] = from;
        }
    }
    double took = (double)(now() - start) / 1e9;

    FILE *out = fopen(argv[6], "wb");
    if (!out) fail(argv[6]);
    for (uint64_t i = 0; i < all; i++) {
        uint32_t ns = times[i] < UINT32_MAX ? (uint32_t)times[i] : UINT32_MAX;
        if (fwrite(&ns, sizeof ns, 1, out) != 1) fail(argv[6]);
    }
    if (fclose(out)) fail(argv[6]);
    qsort(lates, all, sizeof *lates, by_size);
    printf("{\"requests\":%llu,\"seconds\":%.6f,\"class\":\"%s\",\"late_p50_us\":%.1f,\"late_p999_us\":%.1f,\"late_worst_us\":%.1f}\n",
           (unsigned long long)all, took, class, lates[all / 2] / 1e3, lates[(uint64_t)(0.999 * all)] / 1e3,
           lates[all - 1] / 1e3);
    return 0;
}
