/*
 * next: how libraries to be preloaded find the functions that they replace, and the other names of those.
 */
#ifndef NEXT_H
#define NEXT_H

#include <dlfcn.h>
#include <stdarg.h>

/* Defines `real` as the function that is replaced. */
#define NEXT(name)                                               \
	static __typeof__(&name) real;                           \
	if (!real)                                               \
	real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* In `long syscall(long number, ...)`: its arguments, of which there are at most six. */
#define SYSCALL_ARGUMENTS(argument, number)                      \
	long argument[6];                                        \
	do {                                                     \
		va_list rest;                                    \
		va_start(rest, number);                          \
		for (int i = 0; i < 6; i++)                      \
			argument[i] = va_arg(rest, long);        \
		va_end(rest);                                    \
	} while (0)

/* The same functions, by the names that they have for programs with large files. */
#define LARGE_FILE_NAMES                                         \
	int open64(const char *, int, ...) __attribute__((alias("open")));               \
	int openat64(int, const char *, int, ...) __attribute__((alias("openat")));      \
	ssize_t pread64(int, void *, size_t, off_t) __attribute__((alias("pread")));     \
	ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite"))); \
	off_t lseek64(int, off_t, int) __attribute__((alias("lseek")));                  \
	int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));                 \
	int fstat64(int, struct stat64 *) __attribute__((alias("fstat")));               \
	int fstatat64(int, const char *, struct stat64 *, int) __attribute__((alias("fstatat")));

#endif
