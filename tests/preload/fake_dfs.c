/*
 * fake_dfs: a library to be preloaded that answers for libc below one directory,
 * as DAOS's libpil4dfs does below a dfuse mount.
 *
 * Purpose: libpil4dfs cannot run without DAOS.  What it demands of a program can be
 * shown without: descriptors of what it opens are made up, so the kernel does not
 * know them, and only the functions that it replaces work with them.  Here they
 * stand for descriptors of a plain directory.
 *
 *   Build:  gcc -O2 -Wall -Wextra -shared -fPIC -o fake_dfs.so fake_dfs.c -ldl
 *   Use:    FAKE_DFS_ROOT=/dir FAKE_DFS_LOG=/file LD_PRELOAD=./fake_dfs.so PROGRAM
 *           FAKE_DFS_ROOT is absolute, without links in it.
 *
 * Into the log goes a line `answered NAME` for each function that was used with a
 * made-up descriptor, once a process, and a line `past NAME` each time that one went
 * where the library would not have seen it, such as into syscall(2).
 *
 * As there (int_dfs.c of DAOS 2.9, functions of the same names):
 *  - Replaced are the functions below, and no others.
 *  - O_DIRECTORY, O_PATH and O_DIRECT are not looked at.  O_NOFOLLOW opens a link itself.
 *  - statx fails on an open file, says nothing of devices, and nothing of what it knows.
 *  - stat's device is 0, its inode a hash of the path, its atime that of the last change.
 *  - Times of last access are not kept.  fsync does nothing.
 *  - statx reads the path without looking whether it is a null pointer.
 *  - lseek knows no holes; fallocate and locks are not supported, and fallocate64 is
 *    not replaced.
 *  - fchmod of a directory is refused; futimens of one reads beyond an array: abort().
 *  - fdopendir takes the descriptor of a directory, not a copy of it.
 */
#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "next.h"

#define BASE 0x20000000
#define MADE_UP(fd) ((fd) >= BASE)
#define REAL(fd) (MADE_UP(fd) ? (fd) - BASE : (fd))

/* ---- log ---- */

static void note(const char *what, const char *name)
{
	static int log_fd = -1;
	const char *path = getenv("FAKE_DFS_LOG");
	char line[80];
	int length = snprintf(line, sizeof(line), "%s %s\n", what, name);

	if (!path)
		return;
	if (log_fd == -1)
		log_fd = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
	syscall(SYS_write, log_fd, line, length);
}

/* In a replaced function: one line for the first use with a made-up descriptor. */
#define ANSWERED(fd)                                             \
	do {                                                     \
		static int is_known;                             \
		if (MADE_UP(fd) && !is_known) {                  \
			is_known = 1;                            \
			note("answered", __func__);              \
		}                                                \
	} while (0)

/* In a function that is only watched. */
#define PAST(fd)                                                 \
	do {                                                     \
		if (MADE_UP(fd))                                 \
			note("past", __func__);                  \
	} while (0)

/* ---- paths ---- */

static int is_below(const char *path)
{
	const char *root = getenv("FAKE_DFS_ROOT");
	size_t length = root ? strlen(root) : 0;

	return length && strncmp(path, root, length) == 0 &&
	       (path[length] == 0 || path[length] == '/');
}

/* The path of a name in a made-up directory, or of that itself; -1 and errno on failure. */
static int path_of(int dirfd, const char *name, char path[2 * PATH_MAX])
{
	char link[40];
	ssize_t length = 0;

	path[0] = 0;
	if (name[0] != '/') {
		if (!MADE_UP(dirfd))
			return 0;
		snprintf(link, sizeof(link), "/proc/self/fd/%d", REAL(dirfd));
		length = syscall(SYS_readlink, link, path, PATH_MAX);
		if (length == -1)
			return -1;
		path[length] = 0;
		if (name[0] == 0 || strcmp(name, ".") == 0)
			return 0;
		path[length++] = '/';
	}
	snprintf(path + length, PATH_MAX, "%s", name);
	return 0;
}

static uint32_t hash_of(const char *path)
{
	uint32_t hash = 2166136261u;

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * 16777619u;
	return hash;
}

static int is_directory(int fd)
{
	struct stat st;

	return syscall(SYS_fstat, REAL(fd), &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- open and close ---- */

/* Opens below the root, by a real descriptor and a name. */
static int open_below(int dirfd, const char *name, int flags, mode_t mode)
{
	struct stat st;
	int fd;

	flags &= ~(O_DIRECTORY | O_PATH | O_DIRECT);
	if (flags & O_NOFOLLOW && !(flags & O_CREAT) &&
	    syscall(SYS_newfstatat, dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
		flags |= O_PATH;
	fd = syscall(SYS_openat, dirfd, name, flags, mode);
	return fd == -1 ? -1 : fd + BASE;
}

int openat(int dirfd, const char *name, int flags, ...)
{
	NEXT(openat);
	char path[2 * PATH_MAX];
	mode_t mode = 0;
	va_list rest;

	va_start(rest, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(rest, mode_t);
	va_end(rest);
	ANSWERED(dirfd);
	if (path_of(dirfd, name, path) == -1)
		return -1;
	if (is_below(path))
		return open_below(REAL(dirfd), name, flags, mode);
	/* `..` of the root, perhaps */
	return real(REAL(dirfd), name, flags, mode);
}

int open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list rest;

	va_start(rest, flags);
	if (flags & (O_CREAT | __O_TMPFILE))
		mode = va_arg(rest, mode_t);
	va_end(rest);
	if (is_below(path))
		return open_below(AT_FDCWD, path, flags, mode);
	return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int close(int fd)
{
	NEXT(close);
	ANSWERED(fd);
	return real(REAL(fd));
}

int dup(int fd)
{
	NEXT(dup);
	int copy = real(REAL(fd));

	return MADE_UP(fd) && copy != -1 ? copy + BASE : copy;
}

int fcntl(int fd, int command, ...)
{
	NEXT(fcntl);
	va_list rest;
	void *argument;
	int result;

	va_start(rest, command);
	argument = va_arg(rest, void *);
	va_end(rest);
	if (!MADE_UP(fd))
		return real(fd, command, argument);
	switch (command) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		result = real(REAL(fd), command, argument);
		return result == -1 ? -1 : result + BASE;
	case F_GETFD:
	case F_SETFD:
		return 0;
	case F_GETFL:
		return real(REAL(fd), command);
	default:
		return real(fd, command, argument); /* EBADF */
	}
}

/* ---- content ---- */

ssize_t read(int fd, void *buffer, size_t size)
{
	NEXT(read);
	return real(REAL(fd), buffer, size);
}

ssize_t write(int fd, const void *data, size_t size)
{
	NEXT(write);
	return real(REAL(fd), data, size);
}

ssize_t pread(int fd, void *buffer, size_t size, off_t offset)
{
	NEXT(pread);
	ANSWERED(fd);
	return real(REAL(fd), buffer, size, offset);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
	NEXT(pwrite);
	ANSWERED(fd);
	return real(REAL(fd), data, size, offset);
}

off_t lseek(int fd, off_t offset, int whence)
{
	NEXT(lseek);
	if (MADE_UP(fd) && whence > SEEK_END) {
		errno = EINVAL;
		return -1;
	}
	return real(REAL(fd), offset, whence);
}

int ftruncate(int fd, off_t length)
{
	NEXT(ftruncate);
	ANSWERED(fd);
	return real(REAL(fd), length);
}

int fallocate(int fd, int mode, off_t offset, off_t length)
{
	NEXT(fallocate);
	if (!MADE_UP(fd))
		return real(fd, mode, offset, length);
	errno = ENOTSUP;
	return -1;
}

int posix_fadvise(int fd, off_t offset, off_t length, int advice)
{
	NEXT(posix_fadvise);
	if (!MADE_UP(fd))
		return real(fd, offset, length, advice);
	if (advice == POSIX_FADV_DONTNEED)
		return 0;
	errno = ENOTSUP;
	return -1;
}

int fsync(int fd)
{
	NEXT(fsync);
	return MADE_UP(fd) ? 0 : real(fd);
}

int fdatasync(int fd)
{
	NEXT(fdatasync);
	return MADE_UP(fd) ? 0 : real(fd);
}

/* ---- attributes ---- */

static void as_there(struct stat *st, const char *path)
{
	st->st_dev = 0;
	st->st_ino = hash_of(path);
	st->st_atim = st->st_mtim;
	st->st_blksize = 1 << 20;
}

int fstat(int fd, struct stat *st)
{
	NEXT(fstat);
	char path[2 * PATH_MAX];

	ANSWERED(fd);
	if (real(REAL(fd), st) == -1 || (MADE_UP(fd) && path_of(fd, "", path) == -1))
		return -1;
	if (MADE_UP(fd))
		as_there(st, path);
	return 0;
}

int fstatat(int dirfd, const char *name, struct stat *st, int flags)
{
	NEXT(fstatat);
	char path[2 * PATH_MAX];

	ANSWERED(dirfd);
	if (path_of(dirfd, name, path) == -1 || real(REAL(dirfd), name, st, flags) == -1)
		return -1;
	if (is_below(path))
		as_there(st, path);
	return 0;
}

static struct statx_timestamp stamp(struct timespec time)
{
	return (struct statx_timestamp){ .tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec };
}

int statx(int dirfd, const char *name, int flags, unsigned int mask, struct statx *stx)
{
	NEXT(statx);
	char path[2 * PATH_MAX];
	struct stat st;

	if (MADE_UP(dirfd) && name[0] == 0 && !is_directory(dirfd)) {
		errno = ENOENT;
		return -1;
	}
	if (path_of(dirfd, name, path) == -1)
		return -1;
	if (!is_below(path))
		return real(REAL(dirfd), name, flags, mask, stx);
	if (fstatat(dirfd, name, &st, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) == -1)
		return -1;
	*stx = (struct statx){
		.stx_blksize = st.st_blksize, .stx_nlink = st.st_nlink, .stx_uid = st.st_uid,
		.stx_gid = st.st_gid, .stx_mode = st.st_mode, .stx_ino = st.st_ino,
		.stx_size = st.st_size, .stx_blocks = st.st_blocks, .stx_atime = stamp(st.st_atim),
		.stx_btime = stamp(st.st_mtim), .stx_ctime = stamp(st.st_ctim),
		.stx_mtime = stamp(st.st_mtim),
	};
	return 0;
}

int fchmod(int fd, mode_t mode)
{
	NEXT(fchmod);
	ANSWERED(fd);
	if (MADE_UP(fd) && is_directory(fd)) {
		errno = EINVAL;
		return -1;
	}
	return real(REAL(fd), mode);
}

int fchmodat(int dirfd, const char *name, mode_t mode, int flags)
{
	NEXT(fchmodat);
	ANSWERED(dirfd);
	return real(REAL(dirfd), name, mode, flags);
}

int fchown(int fd, uid_t uid, gid_t gid)
{
	NEXT(fchown);
	ANSWERED(fd);
	return real(REAL(fd), uid, gid);
}

int futimens(int fd, const struct timespec times[2])
{
	NEXT(futimens);
	struct timespec kept[2] = { { .tv_nsec = UTIME_OMIT }, times[1] };

	ANSWERED(fd);
	if (!MADE_UP(fd))
		return real(fd, times);
	if (is_directory(fd)) {
		note("past", "futimens of a directory");
		abort();
	}
	return real(REAL(fd), kept);
}

int utimensat(int dirfd, const char *name, const struct timespec times[2], int flags)
{
	NEXT(utimensat);
	struct timespec kept[2] = { { .tv_nsec = UTIME_OMIT }, times[1] };

	ANSWERED(dirfd);
	return real(REAL(dirfd), name, MADE_UP(dirfd) ? kept : times, flags);
}

ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)
{
	NEXT(fgetxattr);
	return real(REAL(fd), name, value, size);
}

int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
{
	NEXT(fsetxattr);
	ANSWERED(fd);
	return real(REAL(fd), name, value, size, flags);
}

/* ---- names ---- */

DIR *fdopendir(int fd)
{
	NEXT(fdopendir);
	ANSWERED(fd);
	if (MADE_UP(fd) && !is_directory(fd)) {
		errno = EBADF;
		return NULL;
	}
	return real(REAL(fd));
}

int mkdirat(int dirfd, const char *name, mode_t mode)
{
	NEXT(mkdirat);
	ANSWERED(dirfd);
	return real(REAL(dirfd), name, mode);
}

int unlinkat(int dirfd, const char *name, int flags)
{
	NEXT(unlinkat);
	ANSWERED(dirfd);
	return real(REAL(dirfd), name, flags);
}

int renameat(int from, const char *name, int to, const char *new_name)
{
	NEXT(renameat);
	ANSWERED(to);
	return real(REAL(from), name, REAL(to), new_name);
}

ssize_t readlinkat(int dirfd, const char *name, char *buffer, size_t size)
{
	NEXT(readlinkat);
	ANSWERED(dirfd);
	return real(REAL(dirfd), name, buffer, size);
}

int symlinkat(const char *points_to, int dirfd, const char *name)
{
	NEXT(symlinkat);
	ANSWERED(dirfd);
	return real(points_to, REAL(dirfd), name);
}

/* ---- the same, by the names that they have for programs with large files ---- */

LARGE_FILE_NAMES
int fcntl64(int, int, ...) __attribute__((alias("fcntl")));
int posix_fadvise64(int, off_t, off_t, int) __attribute__((alias("posix_fadvise")));

/* ---- not replaced there, watched here ---- */

/*
 * The number of a call's first arguments among which its descriptors are.  No more are looked at:
 * what a caller does not pass is whatever was left in a register, and that may look like one.
 */
static int descriptors_within(long number)
{
	switch (number) {
	case SYS_gettid:
	case SYS_getpid:
		return 0;
	case SYS_sendfile:
		return 2;
	case SYS_copy_file_range:
	case SYS_linkat:
	case SYS_renameat2:
	case SYS_splice:
	case SYS_symlinkat:
		return 3;
	default:
		return 1;
	}
}

long syscall(long number, ...)
{
	static long (*real)(long, ...);

	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	SYSCALL_ARGUMENTS(argument, number);
	for (int i = 0; i < descriptors_within(number); i++)
		if (argument[i] >= BASE && argument[i] < BASE + 65536) {
			char name[40];

			snprintf(name, sizeof(name), "syscall %ld", number);
			note("past", name);
		}
	return real(number, argument[0], argument[1], argument[2], argument[3], argument[4],
		    argument[5]);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t size, unsigned int flags)
{
	NEXT(copy_file_range);
	PAST(from);
	PAST(to);
	return real(from, at, to, there, size, flags);
}

int fallocate64(int fd, int mode, off64_t offset, off64_t length)
{
	NEXT(fallocate64);
	PAST(fd);
	return real(fd, mode, offset, length);
}

ssize_t sendfile(int to, int from, off_t *at, size_t size)
{
	NEXT(sendfile);
	PAST(from);
	PAST(to);
	return real(to, from, at, size);
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
	PAST(fd);
	return real(fd, request, argument);
}

int linkat(int from, const char *name, int to, const char *new_name, int flags)
{
	NEXT(linkat);
	PAST(from);
	PAST(to);
	return real(from, name, to, new_name, flags);
}

int mknodat(int dirfd, const char *name, mode_t mode, dev_t device)
{
	NEXT(mknodat);
	PAST(dirfd);
	return real(dirfd, name, mode, device);
}

int fchownat(int dirfd, const char *name, uid_t uid, gid_t gid, int flags)
{
	NEXT(fchownat);
	PAST(dirfd);
	return real(dirfd, name, uid, gid, flags);
}

int syncfs(int fd)
{
	NEXT(syncfs);
	PAST(fd);
	return real(fd);
}

ssize_t flistxattr(int fd, char *names, size_t size)
{
	NEXT(flistxattr);
	PAST(fd);
	return real(fd, names, size);
}

int fremovexattr(int fd, const char *name)
{
	NEXT(fremovexattr);
	PAST(fd);
	return real(fd, name);
}
