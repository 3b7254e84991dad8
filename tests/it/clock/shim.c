/* A wall clock that a test sets: every reading of CLOCK_REALTIME is moved by the offset in the file that WAYPOST_TEST_CLOCK names,
 * and waits until a wall-clock time are moved back, for the kernel's clock has not moved. Monotonic clocks stay as they are.
 *
 * The file holds the offset in nanoseconds and its complement, so that a reader never takes half of a write. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
/* Times above are the wall's: no machine has been up for 30 years. */
#define WALL 1000000000

static volatile int64_t *file;

__attribute__((constructor)) static void map(void) {
    const char *path = getenv("WAYPOST_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED) file = at;
}

static int64_t offset(void) {
    int64_t value, complement;
    if (!file) return 0;
    do {
        value = __atomic_load_n(&file[0], __ATOMIC_ACQUIRE);
        complement = __atomic_load_n(&file[1], __ATOMIC_ACQUIRE);
    } while (value != ~complement);
    return value;
}

static void move(struct timespec *time, int64_t by) {
    int64_t nanos = time->tv_nsec + by % SECOND;
    time->tv_sec += by / SECOND + (nanos >= SECOND) - (nanos < 0);
    time->tv_nsec = nanos + (nanos < 0 ? SECOND : 0) - (nanos >= SECOND ? SECOND : 0);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) move(time, offset());
    return result;
}

int timespec_get(struct timespec *time, int base) {
    if (base != TIME_UTC) return 0;
    return clock_gettime(CLOCK_REALTIME, time) == 0 ? base : 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    if (until->tv_sec < WALL) return pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, until);
    struct timespec real = *until;
    move(&real, -offset());
    return pthread_cond_clockwait(condition, mutex, CLOCK_REALTIME, &real);
}

/* The C library's cnd_t and mtx_t are its pthread_cond_t and pthread_mutex_t. */
int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict until) {
    switch (pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)mutex, until)) {
    case 0: return thrd_success;
    case ETIMEDOUT: return thrd_timedout;
    default: return thrd_error;
    }
}
