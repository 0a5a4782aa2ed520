/*
 * latencyfs: a FUSE passthrough that adds a fixed delay to every operation.
 *
 * Purpose: on a parallel file system each metadata operation takes 0.3-5 ms,
 * nearly all of it waiting.  This shows the same to benchmarks and tests on a
 * small machine: operations are slow, but many of them overlap.
 *
 *   Build:  gcc -O2 -Wall -Wextra -o latencyfs latencyfs.c \
 *               $(pkg-config --cflags --libs fuse3)          (libfuse >= 3.12)
 *   Use:    latencyfs --delay-us=1000 BACKING MOUNTPOINT [-o OPTIONS]
 *           stays in the foreground; ready once `mountpoint -q MOUNTPOINT` says so
 *           --no-permissions  no permission checks (see GETATTR below)
 *           --as-dfuse=LINK   answers as DAOS's dfuse does: see below
 *           --fold-case       names are kept in small letters, as on FAT
 *           --unanswered=E    files cannot be opened, with that errno ...
 *           --in-vain=N       ... the first N times
 *           --at-once=N       does N operations at a time, and queues others
 *           --record=FILE     a line for each operation that is delayed: see below
 *           -d                print each operation, to count them
 *   Stop:   fusermount3 -u MOUNTPOINT   (or SIGINT / SIGTERM)
 *
 * As root it allows other users, and new files belong to the caller.  As any
 * FUSE mount it is nosuid,nodev unless mounted with `-o suid,dev`.
 *
 * Traps:
 *  - The kernel uses names and attributes for 60 s without asking again.  Change
 *    the backing tree only while it is not mounted, and mount anew (or `echo 2 >
 *    /proc/sys/vm/drop_caches`) before each cold measurement.
 *  - A system call can be several operations, each with its delay:
 *      a name not known yet    a LOOKUP first: a create is LOOKUP + CREATE, a
 *                              rename to a new name LOOKUP + RENAME
 *      a directory changed     the next call that goes through it first does a
 *                              GETATTR, to check permissions or for its stat
 *      close                   FLUSH
 *      listing a directory     OPENDIR and at least two READDIRs (last one empty)
 *      buffered reads          a READ per 128 KiB; to have up to 1 MiB, `echo 4096 >
 *                              /sys/class/bdi/$(mountpoint -d MNT)/read_ahead_kb`
 *  - Not delayed: FORGET, RELEASE, RELEASEDIR, and GETXATTR of
 *    security.capability, which the kernel does by itself at each write.
 *  - Within one directory the kernel does one create, unlink or rename at a time
 *    (it locks the directory): some 300 creates/s at 1 ms.  Only lookups and
 *    listings overlap.
 *  - Once RLIMIT_NOFILE / 2 files are known, a call on a further file can fail
 *    with ESTALE if that file is removed or replaced at that very moment.
 *  - A write or truncate by another user than root keeps setuid and setgid bits.
 *  - No O_TMPFILE, no ioctl; copy_file_range becomes reads and writes; locks
 *    are local to the mount.
 *
 * A record has two lines for each operation, one when it comes and one after its
 * delay, with fields between tabs:
 *      begin NUMBER KIND PROCESS THREAD INODE NAME      of the caller, and of what
 *      end NUMBER                                       it names in the backing tree
 *
 * As DAOS's dfuse (its ops/ directory; mount with -o fsname=dfuse,subtype=daos):
 *  - No hard links, no fallocate, no FIFOs, sockets and devices, no owners for
 *    whoever is not the one user, no access control lists.
 *  - Times of last access are not set.
 *  - st_blksize is 1 MiB, the size of a chunk.
 *  - The root has the attribute user.daos, which is LINK, and takes no other.
 */
#define FUSE_USE_VERSION 312
#define _GNU_SOURCE

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#pragma GCC diagnostic ignored "-Wunused-parameter" /* callbacks' parameters are given */

#define MAX_THREADS 512     /* each waiting operation holds a thread */
#define MAX_BACKGROUND 1024 /* read-ahead and asynchronous I/O in flight */
#define TIMER_SLACK_NS 1000 /* the default, 50 us, is a lot beside 300 us */
#define CACHE_SECONDS 60.0
#define BUCKETS (1 << 16)
#define HANDLE_MAX 40       /* enough for ext4, xfs, btrfs and tmpfs */

typedef struct fuse_file_info file_info;

/* What makes two names the same inode.  Compared as bytes, so zeroed first. */
struct key {
	dev_t dev;
	ino_t ino;
	struct { /* as struct file_handle */
		unsigned int size; /* 0: there is none */
		int type;
		unsigned char bytes[HANDLE_MAX];
	} handle;
};

/*
 * A file the kernel knows.  It is held by an O_PATH descriptor, as long as there
 * are enough: RLIMIT_NOFILE may be as low as 20,000.  Further ones are known by
 * their handle only, and opened for each operation.
 */
struct inode {
	struct inode *next;
	struct key key;
	int fd; /* -1: only the handle */
	uint64_t lookups; /* references the kernel holds; under table_lock */
};

static struct inode *table[BUCKETS], root;
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct fuse_session *session;
static struct timespec delay_time;
static unsigned int at_once; /* 0: any number */
static sem_t places;
static int use_handles;
static const char *dfuse_link; /* NULL: a plain passthrough */
static int folds_case;
static int unanswered;
static atomic_int in_vain;
static int record = -1;
static int held_fds_end; /* greater descriptors are not held by inodes */

/* ---- small helpers ---- */

static void delay(void)
{
	if (at_once)
		while (sem_wait(&places) == -1)
			;
	if (delay_time.tv_sec || delay_time.tv_nsec)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &delay_time, NULL);
	if (at_once)
		sem_post(&places);
}

/* Replies with success, or with errno when the system call returned -1. */
static void reply(fuse_req_t req, int result)
{
	fuse_reply_err(req, result == -1 ? errno : 0);
}

static void close_fd(int *fd)
{
	if (*fd != -1)
		close(*fd);
}

/* The name as it is kept: in small letters where case makes no difference. */
static const char *kept(const char *name, char *buffer)
{
	size_t i;

	if (!folds_case)
		return name;
	for (i = 0; name[i] && i < NAME_MAX; i++)
		buffer[i] = name[i] >= 'A' && name[i] <= 'Z' ? name[i] - 'A' + 'a' : name[i];
	buffer[i] = 0;
	return buffer;
}

/* In a handler that takes a name: from here on it is the one that is kept. */
#define FOLD(name)                              \
	char folded_##name[NAME_MAX + 1];       \
	name = kept(name, folded_##name);

/* In a handler: replies that dfuse does not do that, and returns. */
#define NOT_AS_DFUSE(condition, error)            \
	if (dfuse_link && (condition)) {          \
		fuse_reply_err(req, error);       \
		return;                           \
	}

static void as_dfuse(struct stat *st)
{
	if (dfuse_link)
		st->st_blksize = 1 << 20;
}

/* In a handler: records the operation, and takes its time. */
#define OPERATION(ino, name) operation(req, __func__ + strlen("do_"), ino, name)

/* A descriptor that is closed where its scope ends. */
#define AUTO_FD __attribute__((cleanup(close_fd))) int

/* Most calls refuse O_PATH descriptors, but take this path to the same inode. */
static const char *path_of(int fd)
{
	static __thread char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return path;
}

/* ---- operations ---- */

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
	char line[NAME_MAX + 200];
	va_list rest;
	int length;

	va_start(rest, format);
	length = vsnprintf(line, sizeof(line), format, rest);
	va_end(rest);
	if (write(record, line, length) != length)
		abort();
}

/* The kernel tells the thread that has made a call; this is the process that it is of. */
static int process_of(int thread)
{
	char path[40], line[80];
	int process = 0;
	FILE *status;

	snprintf(path, sizeof(path), "/proc/%d/status", thread);
	status = fopen(path, "r");
	while (status && !process && fgets(line, sizeof(line), status))
		sscanf(line, "Tgid: %d", &process);
	if (status)
		fclose(status);
	return process;
}

static struct inode *inode_of(fuse_ino_t ino);

static void operation(fuse_req_t req, const char *kind, fuse_ino_t ino, const char *name)
{
	static atomic_int operations;
	int number = atomic_fetch_add(&operations, 1), thread = fuse_req_ctx(req)->pid;

	if (record != -1)
		note("begin\t%d\t%s\t%d\t%d\t%lu\t%s\n", number, kind, process_of(thread), thread,
		     (unsigned long)inode_of(ino)->key.ino, name ? name : "");
	delay();
	if (record != -1)
		note("end\t%d\n", number);
}

/* ---- inodes ---- */

static struct inode *inode_of(fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? &root : (struct inode *)ino;
}

static int open_handle(struct key *key)
{
	return open_by_handle_at(root.fd, (struct file_handle *)&key->handle, O_PATH);
}

static int open_inode(fuse_ino_t ino)
{
	struct inode *inode = inode_of(ino);

	return inode->fd == -1 ? open_handle(&inode->key) : dup(inode->fd);
}

/*
 * In a handler: defines `fd` as a descriptor of the inode, or replies with the
 * error and returns.  A handle gives ESTALE when the file has been removed or
 * replaced meanwhile; at just this error the kernel looks the name up once more.
 */
#define OPEN_INODE(fd, ino)               \
	AUTO_FD fd = open_inode(ino);     \
	if (fd == -1) {                   \
		reply(req, -1);           \
		return;                   \
	}

static void get_handle(int fd, struct key *key)
{
	int mount_id;

	key->handle.size = HANDLE_MAX;
	if (name_to_handle_at(fd, "", (struct file_handle *)&key->handle, &mount_id,
			      AT_EMPTY_PATH) == -1)
		memset(&key->handle, 0, sizeof(key->handle));
}

static struct inode **bucket_of(const struct key *key)
{
	return &table[(key->ino * 0x9E3779B97F4A7C15ull >> 40) % BUCKETS];
}

static struct inode *new_inode(int fd, const struct key *key)
{
	struct inode *inode = calloc(1, sizeof(*inode));
	struct inode **bucket = bucket_of(key);

	if (!inode)
		return NULL;
	inode->key = *key;
	inode->fd = dup(fd);
	if (inode->fd >= held_fds_end && key->handle.size) {
		close(inode->fd);
		inode->fd = -1;
	}
	if (inode->fd == -1 && !key->handle.size) {
		free(inode);
		return NULL;
	}
	inode->next = *bucket;
	return *bucket = inode;
}

/* Finds or adds the inode and counts a lookup; NULL and errno on failure. */
static struct inode *remember(int fd, const struct key *key)
{
	struct inode *inode;

	pthread_mutex_lock(&table_lock);
	for (inode = *bucket_of(key); inode; inode = inode->next)
		if (memcmp(&inode->key, key, sizeof(*key)) == 0)
			break;
	if (!inode)
		inode = new_inode(fd, key);
	if (inode)
		inode->lookups++;
	pthread_mutex_unlock(&table_lock);
	return inode;
}

static void forget(fuse_ino_t ino, uint64_t count)
{
	struct inode *inode = inode_of(ino), **link;

	if (inode == &root)
		return;
	pthread_mutex_lock(&table_lock);
	inode->lookups -= count;
	if (inode->lookups == 0) {
		for (link = bucket_of(&inode->key); *link != inode; link = &(*link)->next)
			;
		*link = inode->next;
		close_fd(&inode->fd);
		free(inode);
	}
	pthread_mutex_unlock(&table_lock);
}

/* Fills the entry for a name and counts a lookup; -1 and errno on failure. */
static int find_entry(int dir, const char *name, struct fuse_entry_param *entry)
{
	AUTO_FD fd = openat(dir, name, O_PATH | O_NOFOLLOW);
	struct inode *inode;
	struct key key;

	memset(entry, 0, sizeof(*entry));
	memset(&key, 0, sizeof(key));
	if (fd == -1 || fstat(fd, &entry->attr) == -1)
		return -1;
	as_dfuse(&entry->attr);
	key.dev = entry->attr.st_dev;
	key.ino = entry->attr.st_ino;
	if (use_handles && key.dev == root.key.dev) /* not below a submount */
		get_handle(fd, &key);
	inode = remember(fd, &key);
	entry->ino = (fuse_ino_t)inode;
	entry->attr_timeout = entry->entry_timeout = CACHE_SECONDS;
	return inode ? 0 : -1;
}

static void reply_entry(fuse_req_t req, int dir, const char *name)
{
	struct fuse_entry_param entry;

	if (find_entry(dir, name, &entry) == -1)
		reply(req, -1);
	else
		fuse_reply_entry(req, &entry);
}

/*
 * Gives a new file to the caller.  Not by setfsuid() before creating it: that
 * would drop our capabilities, and the backing file system would check
 * permissions again, without the caller's supplementary groups.
 */
static int give_to_caller(fuse_req_t req, int dir, const char *name, mode_t mode)
{
	const struct fuse_ctx *caller = fuse_req_ctx(req);
	gid_t gid = caller->gid;
	struct stat st;

	if (geteuid() != 0 || (caller->uid == 0 && caller->gid == getegid()))
		return 0;
	if (fstat(dir, &st) == -1)
		return -1;
	if (st.st_mode & S_ISGID)
		gid = -1; /* the file has the directory's group already */
	if (fchownat(dir, name, caller->uid, gid, AT_SYMLINK_NOFOLLOW) == -1)
		return -1;
	/* chown has cleared these bits */
	return mode & (S_ISUID | S_ISGID) ? fchmodat(dir, name, mode & 07777, 0) : 0;
}

/* The end of mknod, mkdir and symlink. */
static void reply_new(fuse_req_t req, int dir, const char *name, mode_t mode, int result)
{
	if (result == -1 || give_to_caller(req, dir, name, mode) == -1)
		reply(req, -1);
	else
		reply_entry(req, dir, name);
}

/* ---- names ---- */

static void do_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	OPERATION(parent, name);
	FOLD(name);
	OPEN_INODE(dir, parent);
	reply_entry(req, dir, name);
}

static void do_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(ino, count);
	fuse_reply_none(req);
}

static void do_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *list)
{
	for (size_t i = 0; i < count; i++)
		forget(list[i].ino, list[i].nlookup);
	fuse_reply_none(req);
}

static void do_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
	OPERATION(parent, name);
	FOLD(name);
	NOT_AS_DFUSE(!S_ISREG(mode), ENOTSUP);
	OPEN_INODE(dir, parent);
	reply_new(req, dir, name, mode, mknodat(dir, name, mode, dev));
}

static void do_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	OPERATION(parent, name);
	FOLD(name);
	OPEN_INODE(dir, parent);
	reply_new(req, dir, name, 0, mkdirat(dir, name, mode));
}

static void do_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	OPERATION(parent, name);
	FOLD(name);
	OPEN_INODE(dir, parent);
	reply_new(req, dir, name, 0, symlinkat(target, dir, name));
}

static void do_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	OPERATION(parent, name);
	FOLD(name);
	NOT_AS_DFUSE(1, ENOSYS);
	OPEN_INODE(fd, ino);
	OPEN_INODE(dir, parent);
	if (linkat(AT_FDCWD, path_of(fd), dir, name, AT_SYMLINK_FOLLOW) == -1)
		reply(req, -1);
	else
		reply_entry(req, dir, name);
}

static void do_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	OPERATION(parent, name);
	FOLD(name);
	OPEN_INODE(dir, parent);
	reply(req, unlinkat(dir, name, 0));
}

static void do_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	OPERATION(parent, name);
	FOLD(name);
	OPEN_INODE(dir, parent);
	reply(req, unlinkat(dir, name, AT_REMOVEDIR));
}

static void do_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		      const char *new_name, unsigned int flags)
{
	OPERATION(parent, name);
	FOLD(name);
	FOLD(new_name);
	OPEN_INODE(from, parent);
	OPEN_INODE(to, new_parent);
	reply(req, renameat2(from, name, to, new_name, flags));
}

/* ---- attributes ---- */

static void reply_attr(fuse_req_t req, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == -1)
		reply(req, -1);
	else {
		as_dfuse(&st);
		fuse_reply_attr(req, &st, CACHE_SECONDS);
	}
}

static void do_getattr(fuse_req_t req, fuse_ino_t ino, file_info *fi)
{
	OPERATION(ino, NULL);
	OPEN_INODE(fd, ino);
	reply_attr(req, fd);
}

static struct timespec time_to_set(struct timespec value, int is_set, int is_now)
{
	if (!is_set)
		value.tv_nsec = UTIME_OMIT;
	else if (is_now)
		value.tv_nsec = UTIME_NOW;
	return value;
}

/* Owner before mode: chown clears setuid.  Size before times: truncate sets them. */
static int set_attributes(int fd, const struct stat *st, int set, const file_info *fi)
{
	uid_t uid = set & FUSE_SET_ATTR_UID ? st->st_uid : (uid_t)-1;
	gid_t gid = set & FUSE_SET_ATTR_GID ? st->st_gid : (gid_t)-1;
	struct timespec times[2] = {
		time_to_set(st->st_atim, set & FUSE_SET_ATTR_ATIME, set & FUSE_SET_ATTR_ATIME_NOW),
		time_to_set(st->st_mtim, set & FUSE_SET_ATTR_MTIME, set & FUSE_SET_ATTR_MTIME_NOW),
	};

	if (set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID) &&
	    fchownat(fd, "", uid, gid, AT_EMPTY_PATH) == -1)
		return -1;
	if (set & FUSE_SET_ATTR_MODE && chmod(path_of(fd), st->st_mode & 07777) == -1)
		return -1;
	if (set & FUSE_SET_ATTR_SIZE &&
	    (fi ? ftruncate(fi->fh, st->st_size) : truncate(path_of(fd), st->st_size)) == -1)
		return -1;
	if (set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))
		return utimensat(fd, "", times, AT_EMPTY_PATH);
	return 0;
}

static void do_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set, file_info *fi)
{
	OPERATION(ino, NULL);
	NOT_AS_DFUSE(set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID), ENOTSUP);
	if (dfuse_link)
		set &= ~(FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW);
	OPEN_INODE(fd, ino);
	if (set_attributes(fd, st, set, fi) == -1)
		reply(req, -1);
	else
		reply_attr(req, fd);
}

static void do_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[PATH_MAX + 1] = "";

	OPERATION(ino, NULL);
	OPEN_INODE(fd, ino);
	if (readlinkat(fd, "", target, PATH_MAX) == -1)
		reply(req, -1);
	else
		fuse_reply_readlink(req, target);
}

static void do_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	OPERATION(ino, NULL);
	OPEN_INODE(fd, ino);
	if (fstatvfs(fd, &st) == -1)
		reply(req, -1);
	else
		fuse_reply_statfs(req, &st);
}

/* ---- extended attributes ---- */

/* The end of read, readdir, getxattr and listxattr. */
static void reply_data(fuse_req_t req, const char *data, ssize_t length)
{
	if (length == -1)
		reply(req, -1);
	else
		fuse_reply_buf(req, data, length);
}

/* size 0: the caller asks only how long the value is. */
static void reply_xattr(fuse_req_t req, const char *value, size_t size, ssize_t length)
{
	if (size == 0 && length != -1)
		fuse_reply_xattr(req, length);
	else
		reply_data(req, value, length);
}

static void do_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char value[XATTR_SIZE_MAX]; /* the kernel asks for no more */

	if (strcmp(name, "security.capability") != 0) /* see the traps above */
		delay();
	if (dfuse_link && ino == FUSE_ROOT_ID && strcmp(name, "user.daos") == 0) {
		reply_xattr(req, dfuse_link, size, strlen(dfuse_link));
		return;
	}
	OPEN_INODE(fd, ino);
	reply_xattr(req, value, size, getxattr(path_of(fd), name, value, size));
}

static void do_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char names[XATTR_LIST_MAX]; /* the kernel asks for no more */

	OPERATION(ino, NULL);
	OPEN_INODE(fd, ino);
	ssize_t length = listxattr(path_of(fd), names, size ? sizeof(names) : 0);

	if (dfuse_link && ino == FUSE_ROOT_ID && length != -1) {
		if (size)
			memcpy(names + length, "user.daos", 10);
		length += 10;
	}
	if (size && length > (ssize_t)size) {
		errno = ERANGE;
		length = -1;
	}
	reply_xattr(req, names, size, length);
}

/* An ACL changes the mode too, which the kernel goes on taking from its cache. */
static void reply_xattr_changed(fuse_req_t req, fuse_ino_t ino, const char *name, int result)
{
	if (result == -1)
		reply(req, -1);
	else {
		if (strncmp(name, "system.posix_acl", 16) == 0)
			fuse_lowlevel_notify_inval_inode(session, ino, -1, 0);
		reply(req, 0);
	}
}

static void do_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	OPERATION(ino, NULL);
	NOT_AS_DFUSE(strncmp(name, "system.posix_acl", 16) == 0, ENOTSUP);
	NOT_AS_DFUSE(ino == FUSE_ROOT_ID && strcmp(name, "user.daos") == 0, EINVAL);
	OPEN_INODE(fd, ino);
	reply_xattr_changed(req, ino, name, setxattr(path_of(fd), name, value, size, flags));
}

static void do_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	OPERATION(ino, NULL);
	OPEN_INODE(fd, ino);
	reply_xattr_changed(req, ino, name, removexattr(path_of(fd), name));
}

/* ---- files ---- */

/* O_DIRECT would need our buffers aligned; O_NOFOLLOW would refuse path_of(). */
static int backing_flags(int flags)
{
	return flags & ~(O_DIRECT | O_NOFOLLOW | O_CREAT | O_EXCL);
}

/* Creates exclusively first: only a file that was not there gets an owner. */
static int open_or_create(fuse_req_t req, int dir, const char *name, mode_t mode, int flags)
{
	int base = backing_flags(flags) | O_NOFOLLOW;
	int file = openat(dir, name, base | O_CREAT | O_EXCL, mode);

	if (file == -1 && errno == EEXIST && !(flags & O_EXCL))
		return openat(dir, name, base);
	if (file != -1 && give_to_caller(req, dir, name, mode) == -1) {
		close(file);
		return -1;
	}
	return file;
}

static void do_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      file_info *fi)
{
	struct fuse_entry_param entry;

	OPERATION(parent, name);
	FOLD(name);
	OPEN_INODE(dir, parent);
	int file = open_or_create(req, dir, name, mode, fi->flags);

	if (file == -1 || find_entry(dir, name, &entry) == -1) {
		reply(req, -1);
		close_fd(&file);
		return;
	}
	fi->fh = file;
	fuse_reply_create(req, &entry, fi);
}

static void do_open(fuse_req_t req, fuse_ino_t ino, file_info *fi)
{
	OPERATION(ino, NULL);
	if (!(fi->flags & O_DIRECTORY) && atomic_fetch_sub(&in_vain, 1) > 0) {
		fuse_reply_err(req, unanswered);
		return;
	}
	OPEN_INODE(fd, ino);
	fi->fh = open(path_of(fd), backing_flags(fi->flags));
	if ((int)fi->fh == -1)
		reply(req, -1);
	else
		fuse_reply_open(req, fi);
}

static void do_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, file_info *fi)
{
	char *buffer = malloc(size);

	OPERATION(ino, NULL);
	reply_data(req, buffer, buffer ? pread(fi->fh, buffer, size, offset) : -1);
	free(buffer);
}

static void do_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
		     file_info *fi)
{
	ssize_t length;

	OPERATION(ino, NULL);
	length = pwrite(fi->fh, data, size, offset);
	if (length == -1)
		reply(req, -1);
	else
		fuse_reply_write(req, length);
}

/* Called at each close(): closing a duplicate shows errors such as a full quota. */
static void do_flush(fuse_req_t req, fuse_ino_t ino, file_info *fi)
{
	OPERATION(ino, NULL);
	reply(req, close(dup(fi->fh)));
}

static void do_release(fuse_req_t req, fuse_ino_t ino, file_info *fi)
{
	reply(req, close(fi->fh));
}

static void do_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, file_info *fi)
{
	OPERATION(ino, NULL);
	reply(req, data_only ? fdatasync(fi->fh) : fsync(fi->fh));
}

static void do_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			 file_info *fi)
{
	OPERATION(ino, NULL);
	NOT_AS_DFUSE(1, ENOTSUP);
	reply(req, fallocate(fi->fh, mode, offset, length));
}

/* The kernel asks only for SEEK_DATA and SEEK_HOLE; it does the rest itself. */
static void do_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, file_info *fi)
{
	off_t result;

	OPERATION(ino, NULL);
	result = lseek(fi->fh, offset, whence);
	if (result == -1)
		reply(req, -1);
	else
		fuse_reply_lseek(req, result);
}

/* ---- directories ---- */

/* Turns raw entries into a reply until it is full; the rest is read again. */
static size_t pack_entries(fuse_req_t req, const char *raw, size_t length, char *out, size_t size)
{
	size_t used = 0, need;

	for (const char *end = raw + length; raw < end;) {
		const struct dirent64 *entry = (const void *)raw;
		struct stat st = { .st_ino = entry->d_ino, .st_mode = DTTOIF(entry->d_type) };

		need = fuse_add_direntry(req, out + used, size - used, entry->d_name, &st,
					 entry->d_off);
		if (need > size - used)
			break;
		used += need;
		raw += entry->d_reclen;
	}
	return used;
}

/*
 * No stream state is kept: each request seeks to its offset.  There is no
 * readdirplus, as that brings the attributes of many files for one delay.
 */
static void do_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, file_info *fi)
{
	char *raw = malloc(2 * size), *out = raw + size;
	ssize_t length = -1;

	OPERATION(ino, NULL);
	if (raw && lseek(fi->fh, offset, SEEK_SET) != -1)
		length = getdents64(fi->fh, raw, size);
	if (length != -1)
		length = pack_entries(req, raw, length, out, size);
	reply_data(req, out, length);
	free(raw);
}

/* ---- session ---- */

static void do_init(void *userdata, struct fuse_conn_info *conn)
{
	conn->max_background = conn->congestion_threshold = MAX_BACKGROUND;
}

static const struct fuse_lowlevel_ops operations = {
	.init = do_init,
	.lookup = do_lookup, .forget = do_forget, .forget_multi = do_forget_multi,
	.mknod = do_mknod, .mkdir = do_mkdir, .symlink = do_symlink, .link = do_link,
	.unlink = do_unlink, .rmdir = do_rmdir, .rename = do_rename,
	.getattr = do_getattr, .setattr = do_setattr,
	.readlink = do_readlink, .statfs = do_statfs,
	.getxattr = do_getxattr, .setxattr = do_setxattr,
	.listxattr = do_listxattr, .removexattr = do_removexattr,
	.create = do_create, .open = do_open, .read = do_read, .write = do_write,
	.flush = do_flush, .release = do_release, .fsync = do_fsync,
	.fallocate = do_fallocate, .lseek = do_lseek,
	.opendir = do_open, .readdir = do_readdir,
	.releasedir = do_release, .fsyncdir = do_fsync,
};

/*
 * libfuse 3.14 knows these two capabilities but never tells the kernel, so we
 * set their flags in the reply to INIT.  Without the first, the kernel runs one
 * lookup at a time per directory; without the second, it sends a GETATTR before
 * each chown, to clear the setuid bits itself.
 */
static const uint32_t MISSING_FLAGS = FUSE_PARALLEL_DIROPS | FUSE_HANDLE_KILLPRIV;

static ssize_t write_reply(int fd, struct iovec *iov, int count, void *userdata)
{
	static int is_init = 1; /* no lock: nothing else is sent before INIT is answered */

	if (is_init) {
		is_init = 0;
		if (count == 2 && iov[1].iov_len > offsetof(struct fuse_init_out, flags))
			((struct fuse_init_out *)iov[1].iov_base)->flags |= MISSING_FLAGS;
	}
	return writev(fd, iov, count);
}

static ssize_t read_request(int fd, void *buffer, size_t size, void *userdata)
{
	return read(fd, buffer, size);
}

static int serve(void)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int result;

	/* As many idle threads: else they end and start again all the time. */
	fuse_loop_cfg_set_max_threads(config, MAX_THREADS);
	fuse_loop_cfg_set_idle_threads(config, MAX_THREADS);
	result = fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	return result;
}

static int mount_and_serve(const char *mountpoint)
{
	static const struct fuse_custom_io io = { .writev = write_reply, .read = read_request };
	int result = -1;

	if (fuse_set_signal_handlers(session) == -1 ||
	    fuse_session_mount(session, mountpoint) == -1)
		return -1;
	if (fuse_session_custom_io(session, &io, fuse_session_fd(session)) == 0)
		result = serve();
	fuse_session_unmount(session);
	fuse_remove_signal_handlers(session);
	return result;
}

static int open_backing(const char *path)
{
	struct stat st;

	/* Not O_PATH: open_by_handle_at() wants a real descriptor. */
	root.fd = open(path, O_RDONLY | O_DIRECTORY);
	if (root.fd == -1 || fstat(root.fd, &st) == -1)
		return -1;
	root.key.dev = st.st_dev;
	root.key.ino = st.st_ino;
	get_handle(root.fd, &root.key);
	/* Needs CAP_DAC_READ_SEARCH and a file system that has handles. */
	AUTO_FD probe = open_handle(&root.key);
	use_handles = probe != -1;
	return 0;
}

static void prepare_process(unsigned int delay_us)
{
	struct rlimit limit;

	delay_time.tv_sec = delay_us / 1000000;
	delay_time.tv_nsec = delay_us % 1000000 * 1000L;
	umask(0); /* the kernel has applied the caller's */
	prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0); /* threads inherit it */
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	held_fds_end = limit.rlim_cur / 2; /* the rest is for open files */
	/* Makes the table of descriptors grow now: later, that stalls all threads. */
	close(fcntl(STDERR_FILENO, F_DUPFD, held_fds_end));
}

struct options {
	unsigned int delay_us;
	unsigned int at_once;
	int no_permissions;
	int fold_case;
	int unanswered;
	int in_vain;
	char *record;
	char *as_dfuse;
	char *backing;
};

/* Takes the first plain argument; libfuse takes the second, the mount point. */
static int take_backing(void *data, const char *arg, int key, struct fuse_args *rest)
{
	struct options *options = data;

	if (key != FUSE_OPT_KEY_NONOPT || options->backing)
		return 1;
	options->backing = strdup(arg);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct fuse_opt specs[] = {
		{ "--delay-us=%u", offsetof(struct options, delay_us), 0 },
		{ "--at-once=%u", offsetof(struct options, at_once), 0 },
		{ "--no-permissions", offsetof(struct options, no_permissions), 1 },
		{ "--fold-case", offsetof(struct options, fold_case), 1 },
		{ "--unanswered=%d", offsetof(struct options, unanswered), 0 },
		{ "--in-vain=%d", offsetof(struct options, in_vain), 0 },
		{ "--record=%s", offsetof(struct options, record), 0 },
		{ "--as-dfuse=%s", offsetof(struct options, as_dfuse), 0 },
		FUSE_OPT_END
	};
	struct fuse_args args = FUSE_ARGS_INIT(argc, argv);
	struct fuse_cmdline_opts cmdline;
	struct options options = { 0 };

	if (fuse_opt_parse(&args, &options, specs, take_backing) == -1 ||
	    fuse_parse_cmdline(&args, &cmdline) == -1 || !options.backing || !cmdline.mountpoint) {
		fprintf(stderr, "usage: latencyfs --delay-us=N [--no-permissions] [--as-dfuse=LINK] "
				"[-d] BACKING MOUNTPOINT [-o OPTIONS]\n");
		return 2;
	}
	/* In front, so that the user's own -o options win. */
	fuse_opt_insert_arg(&args, 1, "-ofsname=latencyfs,subtype=latencyfs");
	if (!options.no_permissions)
		fuse_opt_insert_arg(&args, 1, "-odefault_permissions");
	if (geteuid() == 0)
		fuse_opt_insert_arg(&args, 1, "-oallow_other");

	dfuse_link = options.as_dfuse;
	folds_case = options.fold_case;
	unanswered = options.unanswered;
	in_vain = options.in_vain;
	at_once = options.at_once;
	sem_init(&places, 0, at_once);
	prepare_process(options.delay_us);
	if (options.record)
		record = open(options.record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (open_backing(options.backing) == -1) {
		perror(options.backing);
		return 1;
	}
	session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
	/* A positive result is the signal that ended it. */
	return !session || mount_and_serve(cmdline.mountpoint) < 0;
}
