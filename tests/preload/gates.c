/* A library to be preloaded that holds a program where it opens a file or directory: one of whose name there is a file in the
 * directory GATES. That one gets ".reached" appended to its name; when it is removed the program goes on. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static void hold(const char *path) {
    const char *gates = getenv("GATES");
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char gate[PATH_MAX], reached[PATH_MAX + 16];
    if (!gates || !*name || name[0] == '.') return;
    if (snprintf(gate, sizeof gate, "%s/%s", gates, name) >= (int)sizeof gate) return;
    if (access(gate, F_OK) != 0) return;
    snprintf(reached, sizeof reached, "%s.reached", gate);
    int (*make)(const char *, mode_t) = (int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "creat");
    int fd = make(reached, 0600);
    if (fd >= 0) close(fd);
    while (access(gate, F_OK) == 0) usleep(2000);
}

#define OPENAT(function)                                                                  \
    int function(int dir, const char *path, int flags, ...) {                             \
        static int (*next)(int, const char *, int, ...);                                  \
        if (!next) next = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, #function); \
        mode_t mode = 0;                                                                  \
        if (flags & (O_CREAT | O_TMPFILE)) {                                              \
            va_list rest;                                                                 \
            va_start(rest, flags);                                                        \
            mode = va_arg(rest, mode_t);                                                  \
            va_end(rest);                                                                 \
        }                                                                                 \
        if ((flags & O_PATH) == 0) hold(path);                            \
        return next(dir, path, flags, mode);                                              \
    }

OPENAT(openat)
OPENAT(openat64)

/* openat2(2) has no function of its own. */
long syscall(long number, ...) {
    static long (*next)(long, ...);
    if (!next) next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    long arguments[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) arguments[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_openat2 && !(((struct open_how *)arguments[2])->flags & O_PATH))
        hold((const char *)arguments[1]);
    return next(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
