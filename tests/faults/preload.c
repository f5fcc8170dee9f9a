/* Fails or kills a process at its n-th change to the file system, from outside of its code.
 *
 *     cc -shared -fPIC -O2 -o preload.so preload.c
 *     LD_PRELOAD=./preload.so FAULT_FROM=/the-end-begins FAULT_AT=7 FAULT_HOW=kill python train.py
 *
 * Nothing is counted until the program asks whether it may access FAULT_FROM, a path that need
 * not exist. FAULT_HOW: "kill" before the call; "torn" kills after half of a write; a number fails
 * the call with that errno, once, and "N+" that call and all later ones. FAULT_LOG: a file that
 * gets the name of each call that was counted.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)

static atomic_int active, count;

static void die(void) { syscall(SYS_kill, getpid(), SIGKILL); for (;;) pause(); }

/* 0: go on. Else the call fails with this errno. -1: half of it is to be done, then death. */
static int fault(const char *name)
{
    if (!atomic_load(&active)) return 0;
    int number = atomic_fetch_add(&count, 1) + 1;
    const char *log = getenv("FAULT_LOG");
    if (log) {
        int fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
        syscall(SYS_write, fd, name, strlen(name));
        syscall(SYS_write, fd, "\n", 1);
        syscall(SYS_close, fd);
    }
    const char *at = getenv("FAULT_AT"), *how = getenv("FAULT_HOW");
    if (!at || !how || number < atoi(at)) return 0;
    if (!strcmp(how, "kill") && number == atoi(at)) die();
    if (!strcmp(how, "torn") && number == atoi(at)) return -1;
    if (atoi(how) && (number == atoi(at) || strchr(how, '+'))) return atoi(how);
    return 0;
}

int access(const char *path, int mode)
{
    const char *from = getenv("FAULT_FROM");
    if (from && !strcmp(path, from)) atomic_store(&active, 1);
    return REAL(access)(path, mode);
}

#define CHANGE(type, name, parameters, arguments) \
    type name parameters \
    { \
        int error = fault(#name); \
        if (error < 0) die(); \
        if (error) { errno = error; return -1; } \
        return REAL(name) arguments; \
    }

/* Standard output and error are the test's own ears. */
#define WRITE(name, parameters, arguments, halved) \
    ssize_t name parameters \
    { \
        int error = fd == 1 || fd == 2 ? 0 : fault(#name); \
        if (error < 0) { REAL(name) halved; die(); } \
        if (error) { errno = error; return -1; } \
        return REAL(name) arguments; \
    }

#define OPEN(name, parameters, last, arguments) \
    int name parameters \
    { \
        va_list rest; \
        va_start(rest, last); \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest); \
        int error = flags & WRITES ? fault(#name) : 0; \
        if (error < 0) die(); \
        if (error) { errno = error; return -1; } \
        return REAL(name) arguments; \
    }

OPEN(open, (const char *path, int flags, ...), flags, (path, flags, mode))
OPEN(open64, (const char *path, int flags, ...), flags, (path, flags, mode))
OPEN(openat, (int dir, const char *path, int flags, ...), flags, (dir, path, flags, mode))
OPEN(openat64, (int dir, const char *path, int flags, ...), flags, (dir, path, flags, mode))
WRITE(write, (int fd, const void *data, size_t size), (fd, data, size), (fd, data, size / 2))
WRITE(pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at),
      (fd, data, size / 2, at))
WRITE(pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at),
      (fd, data, size / 2, at))
WRITE(writev, (int fd, const struct iovec *parts, int number), (fd, parts, number),
      (fd, parts, number / 2))
CHANGE(int, rename, (const char *from, const char *to), (from, to))
CHANGE(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to))
CHANGE(int, link, (const char *from, const char *to), (from, to))
CHANGE(int, linkat, (int a, const char *from, int b, const char *to, int flags),
       (a, from, b, to, flags))
CHANGE(int, symlink, (const char *from, const char *to), (from, to))
CHANGE(int, unlink, (const char *path), (path))
CHANGE(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
CHANGE(int, mkdir, (const char *path, mode_t mode), (path, mode))
CHANGE(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
CHANGE(int, rmdir, (const char *path), (path))
CHANGE(int, chmod, (const char *path, mode_t mode), (path, mode))
CHANGE(int, fchmod, (int fd, mode_t mode), (fd, mode))
CHANGE(int, fchmodat, (int dir, const char *path, mode_t mode, int flags),
       (dir, path, mode, flags))
CHANGE(int, ftruncate, (int fd, off_t size), (fd, size))
CHANGE(int, ftruncate64, (int fd, off64_t size), (fd, size))
CHANGE(int, fsync, (int fd), (fd))
CHANGE(int, fdatasync, (int fd), (fd))
CHANGE(ssize_t, copy_file_range,
       (int from, off64_t *at, int to, off64_t *there, size_t size, unsigned int flags),
       (from, at, to, there, size, flags))
CHANGE(ssize_t, sendfile, (int to, int from, off_t *at, size_t size), (to, from, at, size))
