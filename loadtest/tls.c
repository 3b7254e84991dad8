// The load generator of tls.py: sends each click on a new TLS connection, by HTTP/1.1 or HTTP/2, or on a new plain one, with
// CONNECTIONS at a time.
//
//   tls PORT CONNECTIONS SECONDS http/1.1|h2|plain 1.3|1.2 full|resumed REQUESTS
//
// REQUESTS holds heads as a browser sends them by HTTP/1.1, one after the other; for HTTP/2 the same fields go through nghttp2's
// header compression. A connection: connect, handshake, request, read the whole answer, close without close_notify, as Chrome 156
// does. An answer other than a 302 with a cookie is an error. Prints one line of JSON.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

enum { SOURCES = 64, FIELDS = 32, ANSWER = 16384, WAIT_MS = 10000 };

// A request's fields, for HTTP/2.
struct fields {
    nghttp2_nv list[FIELDS];
    size_t count;
};

struct connection {
    int fd, shaken, done;
    unsigned interest;
    SSL *ssl;
    size_t request, sent;
    char answer[ANSWER];
    size_t got;
    nghttp2_session *session;
    int found, cookie;
};

static struct fields *fields;
static size_t next_request;
static int port, http2, plain, resume, queue;
static SSL_CTX *context;
static SSL_SESSION *ticket;
static nghttp2_session_callbacks *callbacks;
static long clicks, resumed, mistakes, started;

static void mistake(const char *what) {
    if (mistakes++ < 5) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        ERR_print_errors_fp(stderr);
    }
    ERR_clear_error();
}

// --- requests ---

static void field(struct fields *to, const char *name, size_t name_length, const char *value, size_t value_length) {
    if (to->count == FIELDS) {
        fputs("too many fields in a request\n", stderr);
        exit(1);
    }
    char *lower = strndup(name, name_length);
    for (size_t i = 0; i < name_length; i++) lower[i] = (char)tolower((unsigned char)lower[i]);
    to->list[to->count++] = (nghttp2_nv){(uint8_t *)lower, (uint8_t *)value, name_length, value_length, NGHTTP2_NV_FLAG_NONE};
}

// The pseudo-fields first, the rest in order; what belongs to a connection has no place in HTTP/2 (RFC 9113 8.2.2).
static void as_fields(struct fields *to, const char *text) {
    const char *path = strchr(text, ' ') + 1, *line = strstr(text, "\r\n") + 2;
    field(to, ":method", 7, "GET", 3);
    field(to, ":scheme", 7, "https", 5);
    const char *host = strstr(text, "\r\nHost: ") + 8;
    field(to, ":authority", 10, host, (size_t)(strstr(host, "\r\n") - host));
    field(to, ":path", 5, path, (size_t)(strchr(path, ' ') - path));
    for (const char *end; (end = strstr(line, "\r\n")) != line; line = end + 2) {
        const char *colon = strchr(line, ':');
        size_t length = (size_t)(colon - line);
        if (!strncasecmp(line, "host:", 5) || !strncasecmp(line, "connection:", 11)) continue;
        field(to, line, length, colon + 2, (size_t)(end - colon - 2));
    }
}

// --- one connection ---

static void await(struct connection *c, unsigned events) {
    if (c->interest == events) return;
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(queue, c->interest ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, c->fd, &event)) fail("epoll_ctl");
    c->interest = events;
}

static int new_ticket(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    if (ticket) SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

static int header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
                  const uint8_t *value, size_t value_length, uint8_t flags, void *data) {
    struct connection *c = data;
    (void)session, (void)frame, (void)flags;
    if (name_length == 7 && !memcmp(name, ":status", 7)) c->found = value_length == 3 && !memcmp(value, "302", 3);
    if (name_length == 10 && !memcmp(name, "set-cookie", 10)) c->cookie = 1;
    return 0;
}

static int stream_closed(nghttp2_session *session, int32_t stream, uint32_t error, void *data) {
    struct connection *c = data;
    (void)session, (void)stream;
    c->done = 1;
    if (error) c->found = 0;
    return 0;
}

static void start(struct connection *c) {
    *c = (struct connection){.request = next_request++ % request_count};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) fail("socket");
    // Closed connections keep their port for a minute, by address.
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + (uint32_t)(started++ % SOURCES))};
    int on = 1;
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // as browsers do
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) fail("bind");
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) fail("connect");
    if (!plain) {
        c->ssl = SSL_new(context);
        SSL_set_fd(c->ssl, c->fd);
        SSL_set_tlsext_host_name(c->ssl, "go.example.com");
        SSL_set_connect_state(c->ssl);
    }
    if (resume && ticket) SSL_set_session(c->ssl, ticket);
    if (http2) {
        nghttp2_session_client_new(&c->session, callbacks, c);
        nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0);
        nghttp2_submit_request(c->session, NULL, fields[c->request].list, fields[c->request].count, NULL, NULL);
    }
    await(c, EPOLLIN | EPOLLOUT);
}

static void end(struct connection *c) {
    if (c->done) {
        if (c->found && c->cookie) clicks++;
        else mistake("an answer that is no 302 with a cookie");
    }
    if (c->done && c->ssl) {
        resumed += SSL_session_reused(c->ssl);
        // Said to have ended well, and nothing sent: else OpenSSL takes no ticket from it.
        SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    if (c->session) nghttp2_session_del(c->session);
    SSL_free(c->ssl);
    close(c->fd);
    c->fd = -1;
}

// What OpenSSL waits for: 0 with the interest set, -1 for a connection that failed.
static int wait_for(struct connection *c, int result, const char *what) {
    int error = SSL_get_error(c->ssl, result);
    if (error == SSL_ERROR_WANT_READ) return await(c, EPOLLIN), 0;
    if (error == SSL_ERROR_WANT_WRITE) return await(c, EPOLLOUT), 0;
    mistake(what);
    return -1;
}

static int send_http1(struct connection *c) {
    size_t length = requests[c->request].length;
    while (c->sent < length) {
        int n = SSL_write(c->ssl, requests[c->request].bytes + c->sent, (int)(length - c->sent));
        if (n <= 0) return wait_for(c, n, "write");
        c->sent += (size_t)n;
    }
    return 1;
}

static int send_http2(struct connection *c) {
    // What nghttp2 has to say in one write: a browser's preface, SETTINGS and HEADERS share a record too.
    static uint8_t block[ANSWER];
    const uint8_t *part;
    size_t length = 0;
    for (ssize_t n; (n = nghttp2_session_mem_send(c->session, &part)) > 0; length += (size_t)n) {
        if (length + (size_t)n > sizeof block) return mistake("a request is too long"), -1;
        memcpy(block + length, part, (size_t)n);
    }
    if (!length) return 1;
    // A few hundred bytes on a new connection never fill its buffer.
    int n = SSL_write(c->ssl, block, (int)length);
    return n == (int)length ? 1 : (mistake("write"), -1);
}

static void taken_http1(struct connection *c) {
    c->answer[c->got] = 0;
    char *end = strstr(c->answer, "\r\n\r\n");
    if (!end) return;
    char *length = strcasestr(c->answer, "\r\ncontent-length: ");
    if (c->got < (size_t)(end + 4 - c->answer) + (length ? (size_t)atol(length + 18) : 0)) return;
    c->done = 1;
    c->found = !strncmp(c->answer, "HTTP/1.1 302 ", 13);
    char *cookie = strcasestr(c->answer, "\r\nset-cookie: ");
    c->cookie = cookie && cookie < end;
}

// What step does, without TLS.
static int step_plain(struct connection *c) {
    size_t length = requests[c->request].length;
    while (c->sent < length) {
        ssize_t n = send(c->fd, requests[c->request].bytes + c->sent, length - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) return await(c, EPOLLOUT), 0;
        if (n < 0) return mistake("write"), -1;
        c->sent += (size_t)n;
    }
    while (!c->done) {
        ssize_t n = recv(c->fd, c->answer + c->got, sizeof c->answer - 1 - c->got, 0);
        if (n < 0 && errno == EAGAIN) return await(c, EPOLLIN), 0;
        if (n <= 0) return mistake("read"), -1;
        c->got += (size_t)n;
        taken_http1(c);
    }
    return 1;
}

// Goes on as far as it can. 1: answered; 0: waits; -1: failed.
static int step(struct connection *c) {
    if (plain) return step_plain(c);
    if (!c->shaken) {
        int n = SSL_do_handshake(c->ssl);
        if (n != 1) return wait_for(c, n, "handshake");
        const unsigned char *protocol;
        unsigned length;
        SSL_get0_alpn_selected(c->ssl, &protocol, &length);
        if (length != (http2 ? 2 : 8)) return mistake("not the protocol that was offered"), -1;
        c->shaken = 1;
    }
    while (!c->done) {
        int sent = http2 ? send_http2(c) : send_http1(c);
        if (sent != 1) return sent;
        int n = SSL_read(c->ssl, c->answer + (http2 ? 0 : c->got), (int)(sizeof c->answer - 1 - c->got));
        if (n <= 0) return wait_for(c, n, "read");
        if (http2) {
            if (nghttp2_session_mem_recv(c->session, (uint8_t *)c->answer, (size_t)n) < 0) return mistake("HTTP/2"), -1;
        } else {
            c->got += (size_t)n;
            taken_http1(c);
        }
    }
    return 1;
}

int main(int count, char **words) {
    if (count != 8) {
        fputs("usage: tls PORT CONNECTIONS SECONDS http/1.1|h2|plain 1.3|1.2 full|resumed REQUESTS\n", stderr);
        return 2;
    }
    port = atoi(words[1]);
    int connections = atoi(words[2]);
    double seconds = atof(words[3]);
    http2 = !strcmp(words[4], "h2");
    plain = !strcmp(words[4], "plain");
    int version = strcmp(words[5], "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
    resume = !strcmp(words[6], "resumed");
    signal(SIGPIPE, SIG_IGN);
    read_requests(words[7]);
    if (http2) {
        fields = calloc(request_count, sizeof *fields);
        for (size_t i = 0; i < request_count; i++) as_fields(&fields[i], requests[i].bytes);
    }

    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    // The order of Chrome on a phone with AES instructions; OpenSSL's own begins with the dearer SHA-384.
    SSL_CTX_set_ciphersuites(context, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
    const char *offered = http2 ? "\2h2" : "\10http/1.1";
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)offered, (unsigned)strlen(offered));
    SSL_CTX_set_mode(context, SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, resume ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL : SSL_SESS_CACHE_OFF);
    if (resume) SSL_CTX_sess_set_new_cb(context, new_ticket);
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);

    queue = epoll_create1(0);
    struct connection *all = calloc((size_t)connections, sizeof *all);
    uint64_t began = now(), stop = began + (uint64_t)(seconds * 1e9);
    for (int i = 0; i < connections; i++) start(&all[i]);
    for (int open = connections; open;) {
        struct epoll_event events[64];
        int n = epoll_wait(queue, events, 64, WAIT_MS);
        if (n < 0 && errno != EINTR) fail("epoll_wait");
        if (n == 0) {
            fprintf(stderr, "%d connections had no answer in %d ms\n", open, WAIT_MS);
            return 1;
        }
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (step(c) == 0) continue;
            end(c);
            if (now() < stop) start(c);
            else open--;
        }
    }
    printf("{\"requests\": %ld, \"seconds\": %.3f, \"resumed\": %ld, \"mistakes\": %ld}\n", clicks, (double)(now() - began) / 1e9, resumed, mistakes);
    return 0;
}
