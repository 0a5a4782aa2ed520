/*
 * faults: a library to be preloaded below which calls on some trees fail, are interrupted, move fewer bytes
 * than were asked for, or tell lies about holes.
 *
 *   Build:  gcc -O2 -Wall -Wextra -shared -fPIC -o faults.so faults.c -ldl
 *   Use:    FAULT_ROOTS=/a:/b FAULT_SEED=1 FAULT_EVERY=20 FAULT_KINDS=fail,interrupt,short
 *           FAULT_CALLS=all FAULT_LOG=/file LD_PRELOAD=./faults.so PROGRAM
 *
 * Only calls on what is below one of FAULT_ROOTS, absolute and without links, take part; of those one in
 * FAULT_EVERY is struck, by chance that the seed decides.  FAULT_CALLS is `all`, or names with commas.  Kinds:
 *  - fail: nothing is done and an error is returned, one that the call may give; but close(2) closes.  One of
 *    what was not open for writing is called `close_unwritten`.
 *  - interrupt: EINTR, from calls that may say so; nothing was done, but close(2) closes.
 *  - short: reading, writing and copying move some of the bytes only.
 *  - lose: nothing is done, and success is told: of writing, copying, cutting off, linking and renaming.
 *  - lie: SEEK_DATA finds none to the end of the file, or finds it later than it is; reads have another bit, or
 *    are from elsewhere; of writes a part, or another bit arrives, or all of it elsewhere, and success is told.
 *  - spill: what is written arrives, and once more before that place.
 * The log gets a line for each: `CALL KIND ERRNO PATH`.
 *
 * Or nothing fails, and at the FAULT_KILL_ATth call of a process it is ended by FAULT_SIGNAL (9); with
 * FAULT_VICTIM it is another one that is, such as the launcher, and this one goes on.
 *
 * Each file below FAULT_ROOTS that is synced and whose name ends in FAULT_SYNCED has the attribute user.synced: how
 * long it was then.
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "next.h"

enum kind { NONE, FAIL, INTERRUPT, SHORT, LIE, LOSE, SPILL };

static const char *const KINDS[] = { "none", "fail", "interrupt", "short", "lie", "lose",
				     "spill" };

/* Errors of a class of calls. */
#define ERRORS(name, ...) static const int name[] = { __VA_ARGS__, 0 }
ERRORS(OPENING, EIO, EACCES, EMFILE, ENOMEM);
ERRORS(READING, EIO, ENOMEM);
ERRORS(WRITING, EIO, ENOSPC, EDQUOT, EFBIG);
ERRORS(SETTLING, EIO, ENOSPC, EDQUOT);
ERRORS(COPYING, EIO, EINVAL, EXDEV, EOPNOTSUPP, ENOSPC);
ERRORS(CLONING, EIO, EINVAL, EXDEV, EOPNOTSUPP);
ERRORS(NAMING, EIO, EACCES, EROFS, ENOSPC);
ERRORS(MARKING, EIO, EROFS);

/* ---- what is struck ---- */

static uint64_t mixed(uint64_t x)
{
	x += 0x9e3779b97f4a7c15u;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

static int is_in_list(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; at && (at = strstr(at, word)); at += length)
		if ((at == list || at[-1] == ',') && (at[length] == 0 || at[length] == ','))
			return 1;
	return 0;
}

static int is_below_roots(const char *path)
{
	const char *root = getenv("FAULT_ROOTS");

	while (root && *root) {
		size_t length = strcspn(root, ":");

		if (strncmp(path, root, length) == 0 && (path[length] == 0 || path[length] == '/'))
			return 1;
		root += length + (root[length] == ':');
	}
	return 0;
}

/* The path of what a descriptor is open on, or of a name there. */
static void path_of(int fd, const char *name, char path[2 * PATH_MAX])
{
	static const char OWN[] = "/proc/self/fd/";
	char link[40];
	ssize_t length;

	if (name && strncmp(name, OWN, sizeof(OWN) - 1) == 0) {
		char *end;

		fd = strtol(name + sizeof(OWN) - 1, &end, 10);
		name = *end == '/' ? end + 1 : NULL;
	}
	if (name && name[0] == '/') {
		snprintf(path, PATH_MAX, "%s", name);
		return;
	}
	if (fd == AT_FDCWD)
		snprintf(link, sizeof(link), "/proc/self/cwd");
	else
		snprintf(link, sizeof(link), "%s%d", OWN, fd);
	length = syscall(SYS_readlink, link, path, PATH_MAX);
	path[length < 0 ? 0 : length] = 0;
	if (length > 0 && name && name[0])
		snprintf(path + length, PATH_MAX, "/%s", name);
}

static void note(const char *call, enum kind kind, int error, const char *path)
{
	const char *log = getenv("FAULT_LOG");
	char line[PATH_MAX + 80];
	int length = snprintf(line, sizeof(line), "%s %s %d %s\n", call, KINDS[kind], error, path);
	int fd;

	if (!log)
		return;
	fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	syscall(SYS_write, fd, line, length);
	syscall(SYS_close, fd);
}

/* Counts a call; at one of them a process comes to its end. */
static void end_at(uint64_t at, int fd, const char *name)
{
	static atomic_uint_fast64_t calls;
	char path[2 * PATH_MAX];
	int saved = errno;

	path_of(fd, name, path);
	if (is_below_roots(path) && atomic_fetch_add(&calls, 1) + 1 == at)
		kill(number("FAULT_VICTIM", getpid()), number("FAULT_SIGNAL", SIGKILL));
	errno = saved;
}

struct call {
	const char *name;
	const int *errors;
	/* Kinds that make sense, as bits. */
	int kinds;
	atomic_uint_fast64_t count;
};

#define MAY(kind) (1 << (kind))

/* Whether a call is struck, and how; sets errno. */
static enum kind strike(struct call *call, int fd, const char *name)
{
	char path[2 * PATH_MAX];
	const char *calls = getenv("FAULT_CALLS");
	const char *wanted = getenv("FAULT_KINDS");
	uint64_t every = number("FAULT_EVERY", 0);
	uint64_t random = number("FAULT_SEED", 0);
	enum kind kinds[6], kind;
	int count = 0, errors = 0, saved = errno;
	uint64_t at = number("FAULT_KILL_AT", 0);

	if (at)
		end_at(at, fd, name);
	if (!every || !wanted || (calls && strcmp(calls, "all") && !is_in_list(calls, call->name)))
		return NONE;
	path_of(fd, name, path);
	if (!is_below_roots(path))
		return NONE;
	for (const char *c = call->name; *c; c++)
		random = mixed(random ^ (unsigned char)*c);
	random = mixed(random + atomic_fetch_add(&call->count, 1));
	errno = saved;
	if (random % every)
		return NONE;
	for (kind = FAIL; kind <= SPILL; kind++)
		if (call->kinds & MAY(kind) && is_in_list(wanted, KINDS[kind]))
			kinds[count++] = kind;
	if (!count)
		return NONE;
	kind = kinds[mixed(random) % count];
	while (call->errors[errors])
		errors++;
	if (kind == FAIL)
		errno = call->errors[mixed(random + 1) % errors];
	if (kind == INTERRUPT)
		errno = EINTR;
	saved = errno;
	note(call->name, kind, kind <= INTERRUPT ? errno : 0, path);
	errno = saved;
	return kind;
}

#define CALL(call_name, call_errors, call_kinds)                            \
	static struct call call = { .name = call_name, .errors = call_errors, \
				    .kinds = MAY(FAIL) | (call_kinds) }

/* Returns from a replaced function where it is struck. */
#define STRUCK(name, errors, kinds, fd, path)                               \
	do {                                                                \
		CALL(name, errors, kinds);                                  \
		enum kind kind = strike(&call, fd, path);                   \
		if (kind)                                                   \
			return kind == LOSE ? 0 : -1;                       \
	} while (0)

/* Some of the bytes, where a call is struck in that way. */
#define STRUCK_BYTES(name, errors, kinds, fd, size)                         \
	do {                                                                \
		CALL(name, errors, (kinds) | MAY(SHORT));                   \
		switch (strike(&call, fd, NULL)) {                          \
		case NONE:                                                  \
			break;                                              \
		case SHORT:                                                 \
			size = size > 1 ? 1 + mixed(size) % (size - 1) : size; \
			break;                                              \
		case LOSE:                                                  \
			return size;                                        \
		default:                                                    \
			return -1;                                          \
		}                                                           \
	} while (0)

/* ---- open and close ---- */

int openat(int dirfd, const char *name, int flags, ...)
{
	NEXT(openat);
	mode_t mode = 0;
	va_list rest;

	va_start(rest, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(rest, mode_t);
	va_end(rest);
	STRUCK("openat", OPENING, MAY(INTERRUPT), dirfd, name);
	return real(dirfd, name, flags, mode);
}

int open(const char *path, int flags, ...)
{
	NEXT(open);
	mode_t mode = 0;
	va_list rest;

	va_start(rest, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(rest, mode_t);
	va_end(rest);
	STRUCK("open", OPENING, MAY(INTERRUPT), AT_FDCWD, path);
	return real(path, flags, mode);
}

int close(int fd)
{
	NEXT(close);
	CALL("close", SETTLING, MAY(INTERRUPT));
	static struct call unwritten = { .name = "close_unwritten", .errors = SETTLING,
					 .kinds = MAY(FAIL) | MAY(INTERRUPT) };
	int flags = fcntl(fd, F_GETFL);
	struct stat status = { .st_nlink = 1 };
	/* What has no name any more was given up: nobody misses it. */
	int has_name = syscall(SYS_fstat, fd, &status) != 0 || status.st_nlink > 0;
	int is_written = flags != -1 && (flags & O_ACCMODE) != O_RDONLY && has_name;
	enum kind kind = strike(is_written ? &call : &unwritten, fd, NULL);
	int error = errno, result = real(fd);

	if (kind == NONE)
		return result;
	errno = error;
	return -1;
}

/* ---- content ---- */

/* A bit of what is read is another one, or it comes from elsewhere in the file. */
ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
	NEXT(pread);
	CALL("pread", READING, MAY(INTERRUPT) | MAY(SHORT) | MAY(LIE));
	enum kind kind = strike(&call, fd, NULL);
	uint64_t random = mixed(number("FAULT_SEED", 0) + offset + size);
	ssize_t length;

	if (kind == FAIL || kind == INTERRUPT)
		return -1;
	if (kind == SHORT && size > 1)
		size = 1 + random % (size - 1);
	if (kind == LIE && random % 2 && offset >= (off_t)size)
		return real(fd, buffer, size, offset - (off_t)(random % size));
	length = real(fd, buffer, size, offset);
	if (kind == LIE && length > 0)
		((unsigned char *)buffer)[random % length] ^= 1 << random / 7 % 8;
	return length;
}

ssize_t read(int fd, void *buffer, size_t size)
{
	NEXT(read);
	STRUCK_BYTES("read", READING, MAY(INTERRUPT), fd, size);
	return real(fd, buffer, size);
}

/* All is said to be written: a part is, or with another bit, or elsewhere. */
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	NEXT(pwrite);
	CALL("pwrite", WRITING,
	     MAY(INTERRUPT) | MAY(SHORT) | MAY(LOSE) | MAY(LIE) | MAY(SPILL));
	enum kind kind = strike(&call, fd, NULL);
	uint64_t random = mixed(number("FAULT_SEED", 0) + offset + size);
	unsigned char *flipped;

	switch (kind) {
	case NONE:
		break;
	case SHORT:
		size = size > 1 ? 1 + random % (size - 1) : size;
		break;
	case LOSE:
		return size;
	case SPILL:
		if (offset)
			real(fd, data, size, random % offset);
		break;
	case LIE:
		switch (size ? random / 5 % 3 : 0) {
		case 0:
			if (size)
				real(fd, data, random % size, offset);
			return size;
		case 1:
			return real(fd, data, size, offset + 1 + (off_t)(random % 8192));
		default:
			flipped = malloc(size);
			memcpy(flipped, data, size);
			flipped[random % size] ^= 1 << random / 7 % 8;
			real(fd, flipped, size, offset);
			free(flipped);
			return size;
		}
	default:
		return -1;
	}
	return real(fd, data, size, offset);
}

ssize_t write(int fd, const void *data, size_t size)
{
	NEXT(write);
	STRUCK_BYTES("write", WRITING, MAY(INTERRUPT) | MAY(LOSE), fd, size);
	return real(fd, data, size);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t size, unsigned int flags)
{
	NEXT(copy_file_range);
	STRUCK_BYTES("copy_file_range", COPYING, MAY(INTERRUPT), to, size);
	return real(from, at, to, there, size, flags);
}

off_t lseek(int fd, off_t offset, int whence)
{
	NEXT(lseek);
	CALL("lseek", READING, MAY(LIE));
	enum kind kind = whence == SEEK_DATA ? strike(&call, fd, NULL) : NONE;
	off_t data;

	if (kind == FAIL)
		return -1;
	data = real(fd, offset, whence);
	if (kind != LIE || data == -1)
		return data;
	/* In the middle of the data, if there is enough of it, or nowhere. */
	offset = real(fd, data, SEEK_HOLE);
	if (offset - data >= 16384)
		return data + ((offset - data) / 2 & ~4095);
	errno = ENXIO;
	return -1;
}

int ftruncate(int fd, off_t length)
{
	NEXT(ftruncate);
	STRUCK("ftruncate", WRITING, MAY(INTERRUPT) | MAY(LOSE), fd, NULL);
	return real(fd, length);
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	NEXT(fallocate);
	STRUCK("fallocate", WRITING, MAY(INTERRUPT), fd, NULL);
	return real(fd, mode, offset, length);
}

/* Writes down how long a file was when it was synced. */
static int marked_as_synced(int fd, int (*sync)(int))
{
	const char *end = getenv("FAULT_SYNCED");
	struct stat status;
	char path[2 * PATH_MAX], length[24];
	int is_known = syscall(SYS_fstat, fd, &status) == 0;
	int result = sync(fd), saved = errno;
	size_t size;

	path_of(fd, NULL, path);
	size = strlen(path);
	if (result == 0 && is_known && end && size >= strlen(end) && is_below_roots(path) &&
	    strcmp(path + size - strlen(end), end) == 0) {
		snprintf(length, sizeof(length), "%lld", (long long)status.st_size);
		syscall(SYS_fsetxattr, fd, "user.synced", length, strlen(length), 0);
	}
	errno = saved;
	return result;
}

int fsync(int fd)
{
	NEXT(fsync);
	STRUCK("fsync", SETTLING, MAY(INTERRUPT) | MAY(LOSE), fd, NULL);
	return marked_as_synced(fd, real);
}

int fdatasync(int fd)
{
	NEXT(fdatasync);
	STRUCK("fdatasync", SETTLING, MAY(INTERRUPT), fd, NULL);
	return marked_as_synced(fd, real);
}

int syncfs(int fd)
{
	NEXT(syncfs);
	STRUCK("syncfs", SETTLING, 0, fd, NULL);
	return real(fd);
}

int ioctl(int fd, unsigned long request, ...)
{
	static int (*real)(int, unsigned long, void *);
	va_list rest;
	void *argument;

	va_start(rest, request);
	argument = va_arg(rest, void *);
	va_end(rest);
	if (!real)
		real = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
	STRUCK("ioctl", CLONING, MAY(INTERRUPT), fd, NULL);
	return real(fd, request, argument);
}

/* ---- attributes ---- */

int fstat(int fd, struct stat *st)
{
	NEXT(fstat);
	STRUCK("fstat", READING, 0, fd, NULL);
	return real(fd, st);
}

int fstatat(int dirfd, const char *name, struct stat *st, int flags)
{
	NEXT(fstatat);
	STRUCK("fstatat", READING, 0, dirfd, name);
	return real(dirfd, name, st, flags);
}

int statx(int dirfd, const char *name, int flags, unsigned int mask, struct statx *stx)
{
	NEXT(statx);
	STRUCK("statx", READING, 0, dirfd, name);
	return real(dirfd, name, flags, mask, stx);
}

int fstatfs(int fd, struct statfs *st)
{
	NEXT(fstatfs);
	STRUCK("fstatfs", READING, MAY(INTERRUPT), fd, NULL);
	return real(fd, st);
}

int fchmod(int fd, mode_t mode)
{
	NEXT(fchmod);
	STRUCK("fchmod", MARKING, 0, fd, NULL);
	return real(fd, mode);
}

int fchmodat(int dirfd, const char *name, mode_t mode, int flags)
{
	NEXT(fchmodat);
	STRUCK("fchmodat", MARKING, 0, dirfd, name);
	return real(dirfd, name, mode, flags);
}

int fchown(int fd, uid_t uid, gid_t gid)
{
	NEXT(fchown);
	STRUCK("fchown", MARKING, 0, fd, NULL);
	return real(fd, uid, gid);
}

int fchownat(int dirfd, const char *name, uid_t uid, gid_t gid, int flags)
{
	NEXT(fchownat);
	STRUCK("fchownat", MARKING, 0, dirfd, name);
	return real(dirfd, name, uid, gid, flags);
}

int futimens(int fd, const struct timespec times[2])
{
	NEXT(futimens);
	STRUCK("futimens", MARKING, 0, fd, NULL);
	return real(fd, times);
}

int utimensat(int dirfd, const char *name, const struct timespec times[2], int flags)
{
	NEXT(utimensat);
	STRUCK("utimensat", MARKING, 0, dirfd, name);
	return real(dirfd, name, times, flags);
}

ssize_t flistxattr(int fd, char *names, size_t size)
{
	NEXT(flistxattr);
	STRUCK("flistxattr", READING, 0, fd, NULL);
	return real(fd, names, size);
}

ssize_t llistxattr(const char *path, char *names, size_t size)
{
	NEXT(llistxattr);
	STRUCK("llistxattr", READING, 0, AT_FDCWD, path);
	return real(path, names, size);
}

ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)
{
	NEXT(fgetxattr);
	STRUCK("fgetxattr", READING, 0, fd, NULL);
	return real(fd, name, value, size);
}

ssize_t lgetxattr(const char *path, const char *name, void *value, size_t size)
{
	NEXT(lgetxattr);
	STRUCK("lgetxattr", READING, 0, AT_FDCWD, path);
	return real(path, name, value, size);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	NEXT(fsetxattr);
	STRUCK("fsetxattr", MARKING, 0, fd, NULL);
	return real(fd, name, value, size, flags);
}

int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags)
{
	NEXT(lsetxattr);
	STRUCK("lsetxattr", MARKING, 0, AT_FDCWD, path);
	return real(path, name, value, size, flags);
}

int fremovexattr(int fd, const char *name)
{
	NEXT(fremovexattr);
	STRUCK("fremovexattr", MARKING, 0, fd, NULL);
	return real(fd, name);
}

int lremovexattr(const char *path, const char *name)
{
	NEXT(lremovexattr);
	STRUCK("lremovexattr", MARKING, 0, AT_FDCWD, path);
	return real(path, name);
}

/* ---- names ---- */

int mkdirat(int dirfd, const char *name, mode_t mode)
{
	NEXT(mkdirat);
	STRUCK("mkdirat", NAMING, 0, dirfd, name);
	return real(dirfd, name, mode);
}

int mknodat(int dirfd, const char *name, mode_t mode, dev_t device)
{
	NEXT(mknodat);
	STRUCK("mknodat", NAMING, 0, dirfd, name);
	return real(dirfd, name, mode, device);
}

int symlinkat(const char *points_to, int dirfd, const char *name)
{
	NEXT(symlinkat);
	STRUCK("symlinkat", NAMING, 0, dirfd, name);
	return real(points_to, dirfd, name);
}

ssize_t readlinkat(int dirfd, const char *name, char *buffer, size_t size)
{
	NEXT(readlinkat);
	STRUCK("readlinkat", READING, 0, dirfd, name);
	return real(dirfd, name, buffer, size);
}

int linkat(int from, const char *name, int to, const char *new_name, int flags)
{
	NEXT(linkat);
	STRUCK("linkat", NAMING, MAY(LOSE), to, new_name);
	return real(from, name, to, new_name, flags);
}

int renameat(int from, const char *name, int to, const char *new_name)
{
	NEXT(renameat);
	STRUCK("renameat", NAMING, MAY(LOSE), to, new_name);
	return real(from, name, to, new_name);
}

int unlinkat(int dirfd, const char *name, int flags)
{
	NEXT(unlinkat);
	STRUCK("unlinkat", NAMING, 0, dirfd, name);
	return real(dirfd, name, flags);
}

/* ---- names by their paths: these only count ---- */

#define COUNTED(path)                                                       \
	do {                                                                \
		uint64_t at = number("FAULT_KILL_AT", 0);                   \
		if (at)                                                     \
			end_at(at, AT_FDCWD, path);                         \
	} while (0)

int mkdir(const char *path, mode_t mode)
{
	NEXT(mkdir);
	COUNTED(path);
	return real(path, mode);
}

int rename(const char *path, const char *new_path)
{
	NEXT(rename);
	COUNTED(new_path);
	return real(path, new_path);
}

int unlink(const char *path)
{
	NEXT(unlink);
	COUNTED(path);
	return real(path);
}

int rmdir(const char *path)
{
	NEXT(rmdir);
	COUNTED(path);
	return real(path);
}

/* ---- what has no function of its own, or is called by its number all the same ---- */

/* Younger than the headers of most systems (Linux 6.13). */
#define LISTXATTRAT 465

long syscall(long call_number, ...)
{
	static long (*real)(long, ...);

	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	SYSCALL_ARGUMENTS(argument, call_number);
	if (call_number == SYS_openat2 && argument[1])
		STRUCK("openat2", OPENING, MAY(INTERRUPT), argument[0], (const char *)argument[1]);
	if (call_number == SYS_getdents64)
		STRUCK("getdents64", READING, 0, argument[0], NULL);
	if (call_number == LISTXATTRAT)
		STRUCK("listxattrat", READING, 0, argument[0], (const char *)argument[1]);
	if (call_number == SYS_copy_file_range)
		return copy_file_range(argument[0], (off64_t *)argument[1], argument[2],
				       (off64_t *)argument[3], argument[4], argument[5]);
	return real(call_number, argument[0], argument[1], argument[2], argument[3], argument[4],
		    argument[5]);
}

/* ---- the same, by the names that they have for programs with large files ---- */

LARGE_FILE_NAMES
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int fstatfs64(int, struct statfs64 *) __attribute__((alias("fstatfs")));
