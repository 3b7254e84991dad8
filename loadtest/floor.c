/* The floor: a server that does one read and one write a request, with one thread and one epoll, and looks at nothing.
 * No server on this kernel costs less; what a real server costs above it is its own work.
 *
 * usage: floor PORT ANSWER-FILE      gcc -O2 -o floor floor.c
 *
 * A request ends where a read ends in an empty line (the generator does not pipeline and sends no bodies). */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 256, BUFFER = 64 * 1024 };

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (fd < 0) fail("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0) fail("bind");
    if (listen(fd, 1024) < 0) fail("listen");
    return fd;
}

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static void accept_all(int epoll, int listener) {
    int fd, on = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(epoll, fd);
    }
}

static void answer(int fd, const char *bytes, size_t length) {
    static char request[BUFFER];
    ssize_t got = read(fd, request, sizeof request);
    if (got <= 0) {
        close(fd);
    } else if (got >= 4 && memcmp(request + got - 4, "\r\n\r\n", 4) == 0) {
        if (write(fd, bytes, length) != (ssize_t)length) close(fd);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: floor PORT ANSWER-FILE\n");
        return 64;
    }
    static char bytes[BUFFER];
    FILE *file = fopen(argv[2], "rb");
    if (!file) fail(argv[2]);
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);

    int listener = listen_on(atoi(argv[1])), epoll = epoll_create1(0);
    if (epoll < 0) fail("epoll_create1");
    watch(epoll, listener);
    struct epoll_event events[EVENTS];
    for (;;) {
        int ready = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == listener) accept_all(epoll, listener);
            else answer(events[i].data.fd, bytes, length);
        }
    }
}
