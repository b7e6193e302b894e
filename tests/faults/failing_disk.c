/* Preloaded into the daemon: while the file that $FAILING_DISK names exists, what goes to SQLite's files fails as a dying
   disk does. Reads go on, as they do from the cache. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int descriptor) {
    const char *trigger = getenv("FAILING_DISK");
    char link[64], path[4096];
    if (trigger == NULL || access(trigger, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/outbox.db") != NULL;
}

#define FAILING(type, name, arguments, values)                                 \
    type name arguments {                                                      \
        static type(*real) arguments;                                          \
        if (real == NULL) real = (type(*) arguments)dlsym(RTLD_NEXT, #name);   \
        if (!fails(fd)) return real values;                                    \
        errno = EIO;                                                           \
        return -1;                                                             \
    }

FAILING(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
FAILING(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t place), (fd, data, size, place))
FAILING(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t place), (fd, data, size, place))
FAILING(int, fsync, (int fd), (fd))
FAILING(int, fdatasync, (int fd), (fd))
FAILING(int, ftruncate64, (int fd, off64_t size), (fd, size))
