/*
 * file_faults: a library to be preloaded that lies about files, or writes down what
 * was done with them.
 *
 *   Build:  gcc -O2 -Wall -Wextra -shared -fPIC -o file_faults.so file_faults.c -ldl
 *   Use:    FILE_FAULTS_HOLES=nxio|hole FILE_FAULTS_LOG=/file LD_PRELOAD=… PROGRAM
 *
 * With FILE_FAULTS_HOLES, lseek says of each regular file that is not empty that there is
 * nothing but a hole in it: with `nxio` SEEK_DATA fails with ENXIO, with `hole` the next
 * data is at the end of the file.
 *
 * With FILE_FAULTS_LOG each change of a regular file's content, and each sync, is a line:
 *   w DEVICE INODE 0           content is about to change, or has changed
 *   b DEVICE INODE NUMBER      fsync or fdatasync begins (inode 0: syncfs)
 *   e DEVICE INODE NUMBER      and has ended well
 */
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "next.h"

/* ---- holes ---- */

static off64_t hole(int fd, off64_t offset, int whence, off64_t told)
{
	const char *lie = getenv("FILE_FAULTS_HOLES");
	struct stat stat;

	if (!lie || (whence != SEEK_DATA && whence != SEEK_HOLE) || fstat(fd, &stat) ||
	    !S_ISREG(stat.st_mode) || offset >= stat.st_size)
		return told;
	if (whence == SEEK_HOLE)
		return offset;
	if (strcmp(lie, "nxio") == 0) {
		errno = ENXIO;
		return -1;
	}
	return stat.st_size;
}

off_t lseek(int fd, off_t offset, int whence)
{
	NEXT(lseek);
	return hole(fd, offset, whence, real(fd, offset, whence));
}

off64_t lseek64(int fd, off64_t offset, int whence)
{
	NEXT(lseek64);
	return hole(fd, offset, whence, real(fd, offset, whence));
}

/* ---- what reached the storage ---- */

static void note(char what, int fd, int whole, unsigned long number)
{
	static int log = -2;
	char line[128];
	struct stat stat;
	int saved = errno;

	if (log == -2) {
		const char *path = getenv("FILE_FAULTS_LOG");
		log = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
	}
	if (log >= 0 && fstat(fd, &stat) == 0 && (whole || S_ISREG(stat.st_mode))) {
		int length = snprintf(line, sizeof(line), "%c %lu %lu %lu\n", what,
				      (unsigned long)stat.st_dev,
				      whole ? 0 : (unsigned long)stat.st_ino, number);
		syscall(SYS_write, log, line, (size_t)length);
	}
	errno = saved;
}

static unsigned long next_number(void)
{
	static unsigned long number;
	return (unsigned long)getpid() << 32 | __atomic_add_fetch(&number, 1, __ATOMIC_SEQ_CST);
}

#define CHANGE(type, name, fd, arguments, ...)                   \
	type name(__VA_ARGS__)                                   \
	{                                                        \
		NEXT(name);                                      \
		note('w', fd, 0, 0);                             \
		type done = real arguments;                      \
		note('w', fd, 0, 0);                             \
		return done;                                     \
	}

CHANGE(ssize_t, write, fd, (fd, data, size), int fd, const void *data, size_t size)
CHANGE(ssize_t, pwrite, fd, (fd, data, size, at), int fd, const void *data, size_t size, off_t at)
CHANGE(ssize_t, pwrite64, fd, (fd, data, size, at), int fd, const void *data, size_t size, off64_t at)
CHANGE(int, ftruncate, fd, (fd, size), int fd, off_t size)
CHANGE(int, ftruncate64, fd, (fd, size), int fd, off64_t size)
CHANGE(ssize_t, copy_file_range, to, (from, read_at, to, write_at, size, flags), int from,
       off64_t *read_at, int to, off64_t *write_at, size_t size, unsigned int flags)

/* The function may be there and be called by its number all the same. */
long syscall(long call_number, ...)
{
	static long (*real)(long, ...);

	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	SYSCALL_ARGUMENTS(argument, call_number);
	if (call_number == SYS_copy_file_range)
		return copy_file_range(argument[0], (off64_t *)argument[1], argument[2],
				       (off64_t *)argument[3], argument[4], argument[5]);
	return real(call_number, argument[0], argument[1], argument[2], argument[3], argument[4],
		    argument[5]);
}

#define SYNC(name, whole)                                        \
	int name(int fd)                                         \
	{                                                        \
		NEXT(name);                                      \
		unsigned long number = next_number();            \
		note('b', fd, whole, number);                    \
		int done = real(fd);                             \
		if (done == 0)                                   \
			note('e', fd, whole, number);            \
		return done;                                     \
	}

SYNC(fsync, 0)
SYNC(fdatasync, 0)
SYNC(syncfs, 1)
