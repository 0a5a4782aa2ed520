// What a client of Lustre shows of layouts, for a tree on any file system that keeps user.* attributes:
// a library for LD_PRELOAD, for tests on machines that cannot have Lustre itself. No content is striped.
//
//   FAKE_LUSTRE_ROOT  the tree, without symbolic links
//   FAKE_LUSTRE_LOG   a file to which each call is appended as a line
//   FAKE_LUSTRE_DENY  layouts are not taken
//
// Layouts are kept in user.f.lov, which is shown as lustre.lov. As on Lustre a file has a layout once it is created,
// its directory's or that of the root, and keeps it: setting another one succeeds and does nothing. But for one that
// was opened with O_LOV_DELAY_CREATE: that has none, and cannot be written before it is set. (copy_file_range(2) does
// not go through the C library.)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAGIC 0x0BD00BD0
#define SHOWN "lustre.lov"
#define STORED "user.f.lov"
#define TARGETS 8
#define BARE (O_NOCTTY | O_ASYNC)
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void note(const char *format, ...) {
    const char *log = getenv("FAKE_LUSTRE_LOG");
    char line[PATH_MAX + 4096];
    va_list rest;
    va_start(rest, format);
    int length = vsnprintf(line, sizeof line - 1, format, rest);
    va_end(rest);
    int fd = log ? REAL(open64)(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (fd < 0) return;
    line[length++] = '\n';
    if (write(fd, line, length) < 0) abort();
    close(fd);
}

static int is_below(const char *path) {
    const char *root = getenv("FAKE_LUSTRE_ROOT");
    size_t length = root ? strlen(root) : 0;
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

// The path of what is open; false where that is not in the tree.
static int of_fd(int fd, char *path) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0 && is_below(path);
}

// The same for an entry, which is not followed.
static int of_entry(const char *given, char *path) {
    char dir[PATH_MAX];
    snprintf(dir, sizeof dir, "%s", given);
    char *name = strrchr(dir, '/');
    if (!name) return 0;
    *name++ = 0;
    if (!realpath(dir, path)) return 0;
    if (strcmp(name, ".")) strcat(strcat(path, "/"), name);
    return is_below(path);
}

static uint32_t u32(const uint8_t *at) { return at[0] | at[1] << 8 | at[2] << 16 | (uint32_t)at[3] << 24; }

// Gives a file objects. Returns the size of its layout, 0 where that is no valid one.
static size_t with_objects(const uint8_t *wanted, size_t size, uint8_t *layout) {
    static int next;
    memcpy(layout, wanted, size);
    if (size >= 32 && u32(wanted) == 0x0BD60BD0) {
        for (int i = 0; i < (layout[14] | layout[15] << 8); i++) {
            layout[32 + 48 * i] = i + 1;
            if (!i) layout[32 + 4] |= 0x10;
        }
        return u32(wanted + 4) == size ? size : 0;
    }
    size_t head = u32(wanted) == 0x0BD10BD0 ? 32 : 48;
    if (size < head || (head == 48 && u32(wanted) != 0x0BD30BD0) || u32(wanted + 24) % 65536) return 0;
    int count = wanted[28] | wanted[29] << 8;
    count = count == 0 ? 1 : count > TARGETS ? TARGETS : count;
    if (!u32(wanted + 24)) layout[26] = 0x40;
    layout[28] = count, layout[29] = 0, layout[30] = layout[31] = 0;
    memset(layout + head, 0, 24 * count);
    for (int i = 0; i < count; i++) layout[head + 24 * i] = 77, layout[head + 24 * i + 20] = next++ % TARGETS;
    return head + 24 * count;
}

static int has_layout(int fd) { return REAL(fgetxattr)(fd, STORED, NULL, 0) >= 0; }

static int give(int fd, const uint8_t *wanted, size_t size) {
    uint8_t layout[4096];
    size_t length = size < 2048 ? with_objects(wanted, size, layout) : 0;
    if (!length) return errno = EINVAL, -1;
    return REAL(fsetxattr)(fd, STORED, layout, length, 0);
}

static void give_default(int fd, char *path) {
    static const uint8_t last[32] = {0xd0, 0x0b, 0xd1, 0x0b, 1, [26] = 0x40, [28] = 1, [30] = 0xff, 0xff};
    uint8_t wanted[2048];
    *strrchr(path, '/') = 0;
    ssize_t size = REAL(getxattr)(path, STORED, wanted, sizeof wanted);
    if (size < 0) size = REAL(getxattr)(getenv("FAKE_LUSTRE_ROOT"), STORED, wanted, sizeof wanted);
    if (give(fd, size < 0 ? last : wanted, size < 0 ? sizeof last : (size_t)size)) abort();
}

int openat64(int dir, const char *name, int flags, ...) {
    mode_t mode = 0;
    char path[PATH_MAX + 1];
    if (flags & (O_CREAT | __O_TMPFILE)) {
        va_list rest;
        va_start(rest, flags);
        mode = va_arg(rest, mode_t);
        va_end(rest);
    }
    int fd = REAL(openat64)(dir, name, flags, mode);
    int is_new = (flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL);
    if (fd >= 0 && is_new && of_fd(fd, path)) {
        int is_bare = (flags & BARE) == BARE;
        note("%s\t%s", is_bare ? "bare" : "create", path);
        if (!is_bare) give_default(fd, path);
    }
    return fd;
}

int fstatfs64(int fd, struct statfs64 *found) {
    char path[PATH_MAX + 1];
    int failed = REAL(fstatfs64)(fd, found);
    if (!failed && of_fd(fd, path)) {
        note("fstatfs\t%s", path);
        found->f_type = MAGIC;
    }
    return failed;
}

int fstatfs(int fd, struct statfs *found) { return fstatfs64(fd, (struct statfs64 *)found); }

static const char *stored(const char *name, int is_below) {
    if (is_below && !strcmp(name, STORED)) return "user.none";
    return is_below && !strcmp(name, SHOWN) ? STORED : name;
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) {
    char path[PATH_MAX + 1], dump[4096] = "";
    if (strcmp(name, SHOWN) || !of_fd(fd, path)) return REAL(fsetxattr)(fd, name, value, size, flags);
    for (size_t i = 0; i < size && i < 2000; i++) sprintf(dump + 2 * i, "%02x", ((const uint8_t *)value)[i]);
    note("set\t%s\t%s", path, dump);
    if (getenv("FAKE_LUSTRE_DENY")) return errno = EPERM, -1;
    return has_layout(fd) ? 0 : give(fd, value, size);
}

int lsetxattr(const char *given, const char *name, const void *value, size_t size, int flags) {
    char path[PATH_MAX + 1];
    if (!strncmp(name, "lustre.", 7) && of_entry(given, path)) note("set-by-name\t%s\t%s", path, name);
    return REAL(lsetxattr)(given, name, value, size, flags);
}

ssize_t fgetxattr(int fd, const char *name, void *value, size_t size) {
    char path[PATH_MAX + 1];
    return REAL(fgetxattr)(fd, stored(name, of_fd(fd, path)), value, size);
}

ssize_t lgetxattr(const char *given, const char *name, void *value, size_t size) {
    char path[PATH_MAX + 1];
    return REAL(lgetxattr)(given, stored(name, of_entry(given, path)), value, size);
}

ssize_t getxattr(const char *given, const char *name, void *value, size_t size) {
    char path[PATH_MAX + 1];
    return REAL(getxattr)(given, stored(name, realpath(given, path) && is_below(path)), value, size);
}

static ssize_t shown(char *names, ssize_t length, size_t room) {
    for (char *name = names; room && length > 0 && name < names + length; name += strlen(name) + 1)
        if (!strcmp(name, STORED)) memcpy(name, SHOWN, strlen(SHOWN));
    return length;
}

ssize_t flistxattr(int fd, char *names, size_t room) {
    char path[PATH_MAX + 1];
    ssize_t length = REAL(flistxattr)(fd, names, room);
    return of_fd(fd, path) ? shown(names, length, room) : length;
}

ssize_t llistxattr(const char *given, char *names, size_t room) {
    char path[PATH_MAX + 1];
    ssize_t length = REAL(llistxattr)(given, names, room);
    return of_entry(given, path) ? shown(names, length, room) : length;
}

// lov_io_init_empty() answers EBADF.
static int may_write(int fd, const char *what, off64_t offset, size_t length) {
    char path[PATH_MAX + 1];
    const char *rank = getenv("PMI_RANK");
    if (!of_fd(fd, path)) return 1;
    note("%s\t%s\t%lld\t%zu\t%s", what, path, (long long)offset, length, rank ? rank : "0");
    if (has_layout(fd)) return 1;
    return errno = EBADF, 0;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
    return may_write(fd, "write", offset, length) ? REAL(pwrite64)(fd, data, length, offset) : -1;
}

int ftruncate64(int fd, off64_t length) {
    return may_write(fd, "end", length, 0) ? REAL(ftruncate64)(fd, length) : -1;
}
