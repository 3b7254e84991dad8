/* Sends clicks at a fixed rate, each on a new connection, and times each: an open loop. steady.c does it on kept connections.
 *
 * usage: newcomer plain|tls PORT REQUESTS RATE SECONDS TIMES      gcc -O2 -o newcomer newcomer.c -lssl -lcrypto
 *
 * REQUESTS holds request heads, which are sent in turn. Click i is due i/RATE seconds after the first. It is timed from the moment this
 * program sees that it is due, over connect, perhaps a full TLS handshake (no tickets), request, to the last byte of the answer's
 * head: a 302 without a body. A click without one within 6 s has failed: 0 in TIMES, which gets each one's nanoseconds as 64 bits
 * (a buyer does not wait longer). One line of JSON goes to stdout. `late` is the delay between the
 * due time and the moment this program saw it; it is not part of a time. plain: real-time class where allowed; tls: nice -20, so
 * that the CPU time of its handshakes does not delay another generator. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

enum { EVENTS = 256, BUFFER = 8 * 1024 };
static const uint64_t CLICK_TIMEOUT_NS = 6000000000u;

struct click {
    int fd;  /* -1: over */
    int request_sent;
    uint64_t since, took;
    SSL *ssl;
    size_t got;
    char *answer;
};

static SSL_CTX *tls;
static uint64_t over, failed;

static void finish_click(struct click *one, int good) {
    one->took = good ? now() - one->since : 0;
    failed += !good, over++;
    if (one->ssl) SSL_free(one->ssl);
    if (one->fd >= 0) close(one->fd);
    free(one->answer);
    one->fd = -1, one->ssl = NULL, one->answer = NULL;
}

static void open_connection(struct click *one, int epoll, int port) {
    int on = 1;
    struct linger reset = {.l_onoff = 1};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    one->answer = malloc(BUFFER);
    if (one->fd < 0 || !one->answer) fail("socket");
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(one->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (connect(one->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) fail("connect");
    if (tls) {
        one->ssl = SSL_new(tls);
        SSL_set_fd(one->ssl, one->fd);
        SSL_set_tlsext_host_name(one->ssl, "go.example.com");
        SSL_set_connect_state(one->ssl);
    }
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = one};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, one->fd, &event) < 0) fail("epoll_ctl");
}

/* 1: done; 0: would block; -1: failed. */
static int tls_state(struct click *one, int result) {
    if (result > 0) return 1;
    int why = SSL_get_error(one->ssl, result);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

static void handle_event(struct click *one, uint64_t number, uint32_t events) {
    if (one->fd < 0) return;
    if (!one->request_sent) {
        if (!(events & EPOLLOUT) && !one->ssl) return;
        if (one->ssl) {
            int state = tls_state(one, SSL_do_handshake(one->ssl));
            if (state < 0) finish_click(one, 0);
            if (state < 1) return;
        }
        const char *bytes = requests[number % request_count].bytes;
        size_t length = requests[number % request_count].length;
        ssize_t sent = one->ssl ? SSL_write(one->ssl, bytes, (int)length) : write(one->fd, bytes, length);
        if (sent != (ssize_t)length) {
            if (sent < 0 && errno == EAGAIN) return;
            finish_click(one, 0);
            return;
        }
        one->request_sent = 1;
    }
    for (;;) {
        ssize_t got;
        if (one->ssl) {
            got = SSL_read(one->ssl, one->answer + one->got, (int)(BUFFER - one->got));
            if (got <= 0 && tls_state(one, (int)got) == 0) return;
        } else {
            got = read(one->fd, one->answer + one->got, BUFFER - one->got);
            if (got < 0 && errno == EAGAIN) return;
        }
        if (got <= 0) {
            finish_click(one, 0);
            return;
        }
        one->got += (size_t)got;
        if (one->got > 16 && !memcmp(one->answer + one->got - 4, "\r\n\r\n", 4)) {
            finish_click(one, !memcmp(one->answer, "HTTP/1.1 302", 12));
            return;
        }
    }
}

static const char *set_scheduling_class(void) {
    struct sched_param first = {.sched_priority = 1};
    prctl(PR_SET_TIMERSLACK, 1);
    if (!tls && !sched_setscheduler(0, SCHED_FIFO, &first)) return "real-time";
    return setpriority(PRIO_PROCESS, 0, -20) ? "none" : "nice -20";
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 7 || (strcmp(argv[1], "plain") && strcmp(argv[1], "tls"))) {
        fprintf(stderr, "usage: newcomer plain|tls PORT REQUESTS RATE SECONDS TIMES\n");
        return 64;
    }
    if (!strcmp(argv[1], "tls")) {
        tls = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    }
    signal(SIGPIPE, SIG_IGN);
    read_requests(argv[3]);
    double rate = atof(argv[4]), seconds = atof(argv[5]);
    uint64_t all = (uint64_t)(rate * seconds), seen = 0, oldest = 0;
    struct click *clicks = calloc(all + 1, sizeof *clicks);
    uint64_t *lates = calloc(all + 1, sizeof *lates);
    int epoll = epoll_create1(0);
    if (!all || !clicks || !lates || epoll < 0) fail("begin");
    const char *class = set_scheduling_class();

    uint64_t start = now();
    while (over < all) {
        uint64_t at = now(), due;
        for (; seen < all && (due = start + (uint64_t)(seen * (1e9 / rate))) <= at; seen++) {
            clicks[seen].since = at;
            lates[seen] = at - due;
            open_connection(&clicks[seen], epoll, atoi(argv[2]));
        }
        for (; oldest < seen && (clicks[oldest].fd < 0 || at - clicks[oldest].since > CLICK_TIMEOUT_NS); oldest++) {
            if (clicks[oldest].fd >= 0) finish_click(&clicks[oldest], 0);
        }
        int64_t left = seen < all ? (int64_t)(start + (uint64_t)(seen * (1e9 / rate))) - (int64_t)now() : 10000000;
        if (left < 0) left = 0;
        struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = left % 1000000000};
        struct epoll_event events[EVENTS];
        int ready = epoll_pwait2(epoll, events, EVENTS, &wait, NULL);
        if (ready < 0 && errno != EINTR) fail("epoll_pwait2");
        for (int i = 0; i < ready; i++) {
            struct click *one = events[i].data.ptr;
            handle_event(one, (uint64_t)(one - clicks), events[i].events);
        }
    }
    FILE *out = fopen(argv[6], "wb");
    if (!out) fail(argv[6]);
    for (uint64_t i = 0; i < all; i++) {
        if (fwrite(&clicks[i].took, sizeof clicks[i].took, 1, out) != 1) fail(argv[6]);
    }
    if (fclose(out)) fail(argv[6]);
    qsort(lates, all, sizeof *lates, by_size);
    printf("{\"requests\":%llu,\"failed\":%llu,\"class\":\"%s\",\"late_p50_us\":%.1f,\"late_p999_us\":%.1f}\n",
           (unsigned long long)all, (unsigned long long)failed, class, lates[all / 2] / 1e3, lates[(uint64_t)(0.999 * all)] / 1e3);
    return 0;
}
