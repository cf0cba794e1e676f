/* Commands on open files and mappings. They are kept in numbered slots. */
#include "executor.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONGEST (64 << 20)

int slots[SLOTS];

static struct mapping {
	unsigned char *at;
	size_t length;
} mappings[SLOTS];

int slot_of(const char *text)
{
	int slot = atoi(text);

	if (slot < 0 || slot >= SLOTS) {
		fprintf(stderr, "executor: there is no slot %s\n", text);
		exit(2);
	}
	return slot;
}

/* Slots hold -1 when nothing is open: system calls then say EBADF. */
void close_all(void)
{
	for (int slot = 0; slot < SLOTS; slot++) {
		if (slots[slot] >= 0)
			close(slots[slot]);
		slots[slot] = -1;
		if (mappings[slot].at != NULL)
			munmap(mappings[slot].at, mappings[slot].length);
		mappings[slot] = (struct mapping){ 0 };
	}
}

/* Never waits for the other end of a FIFO. What the slot held is closed, unless this fails. */
static void run_open(char **arg, int args)
{
	int slot = slot_of(arg[0]);
	struct place at = place_of(arg[1]);
	int flags = number_of(arg[2]) | O_CLOEXEC;

	if ((flags & O_PATH) == 0)
		flags |= O_NONBLOCK;
	int fd = openat(at.dirfd, at.path, flags, args > 3 ? number_of(arg[3]) : 0644);
	if (fd < 0) {
		answer_result(-1);
		return;
	}
	if (slots[slot] >= 0)
		close(slots[slot]);
	slots[slot] = fd;
	answer("0");
}

static void run_close(char **arg, int args)
{
	int slot = slot_of(arg[0]);

	(void)args;
	answer_result(close(slots[slot]));
	slots[slot] = -1;
}

/* write PATH DATA: makes or replaces a whole file. */
static void run_write(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	struct data data = data_of(arg[1]);
	int fd = openat(at.dirfd, at.path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_CLOEXEC,
			args > 2 ? number_of(arg[2]) : 0644);

	if (fd < 0) {
		answer_result(-1);
		return;
	}
	answer_result(write(fd, data.bytes, data.length));
	close(fd);
}

static void run_append(char **arg, int args)
{
	struct data data = data_of(arg[1]);

	(void)args;
	answer_result(write(slots[slot_of(arg[0])], data.bytes, data.length));
}

static void run_pwrite(char **arg, int args)
{
	struct data data = data_of(arg[1]);

	(void)args;
	answer_result(pwrite(slots[slot_of(arg[0])], data.bytes, data.length, number_of(arg[2])));
}

static unsigned char *buffer_for(size_t length)
{
	static void *buffer;
	static size_t room;

	if (length > LONGEST)
		exit(2);
	if (length > room) {
		free(buffer);
		/* O_DIRECT wants it aligned. */
		if (posix_memalign(&buffer, 4096, length) != 0)
			exit(2);
		room = length;
	}
	return buffer;
}

static void run_pread(char **arg, int args)
{
	size_t wanted = number_of(arg[1]);
	unsigned char *buffer = buffer_for(wanted + 1);
	ssize_t length = pread(slots[slot_of(arg[0])], buffer, wanted, number_of(arg[2]));

	(void)args;
	if (length < 0)
		answer_result(-1);
	else
		answer_bytes(buffer, length);
}

static void run_read(char **arg, int args)
{
	size_t wanted = number_of(arg[1]);
	unsigned char *buffer = buffer_for(wanted + 1);
	ssize_t length = read(slots[slot_of(arg[0])], buffer, wanted);

	(void)args;
	if (length < 0)
		answer_result(-1);
	else
		answer_bytes(buffer, length);
}

/* cat PATH: what a whole file holds. */
static void run_cat(char **arg, int args)
{
	struct place at = place_of(arg[0]);
	int fd = openat(at.dirfd, at.path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	size_t total = 0;
	ssize_t count = 0;

	(void)args;
	if (fd < 0) {
		answer_result(-1);
		return;
	}
	unsigned char *buffer = buffer_for(LONGEST);
	while (total < LONGEST && (count = read(fd, buffer + total, LONGEST - total)) > 0)
		total += count;
	if (count < 0)
		answer_result(-1);
	else
		answer_bytes(buffer, total);
	close(fd);
}

static void run_lseek(char **arg, int args)
{
	int fd = slots[slot_of(arg[0])];
	struct stat stat;

	(void)args;
	/* Positions in a directory are the file system's own affair. */
	if (fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode))
		answer("directory");
	else
		answer_result(lseek(fd, number_of(arg[1]), number_of(arg[2])));
}

static void run_fallocate(char **arg, int args)
{
	(void)args;
	answer_result(fallocate(slots[slot_of(arg[0])], number_of(arg[1]), number_of(arg[2]),
				number_of(arg[3])));
}

static void run_posix_fallocate(char **arg, int args)
{
	(void)args;
	errno = posix_fallocate(slots[slot_of(arg[0])], number_of(arg[1]), number_of(arg[2]));
	answer_result(errno == 0 ? 0 : -1);
}

/* copy FROM OFFSET TO OFFSET LENGTH */
static void run_copy(char **arg, int args)
{
	loff_t from = number_of(arg[1]), to = number_of(arg[3]);
	size_t left = number_of(arg[4]);
	ssize_t total = 0;

	(void)args;
	while (left > 0) {
		ssize_t count = copy_file_range(slots[slot_of(arg[0])], &from, slots[slot_of(arg[2])],
						&to, left, 0);

		if (count < 0 && total == 0)
			total = -1;
		if (count <= 0)
			break;
		total += count;
		left -= count;
	}
	answer_result(total);
}

static void run_fsync(char **arg, int args)
{
	(void)args;
	answer_result(fsync(slots[slot_of(arg[0])]));
}

static void run_fdatasync(char **arg, int args)
{
	(void)args;
	answer_result(fdatasync(slots[slot_of(arg[0])]));
}

static void run_syncfs(char **arg, int args)
{
	(void)args;
	answer_result(syncfs(slots[slot_of(arg[0])]));
}

/* mmap MAPPING SLOT PROT FLAGS OFFSET LENGTH */
static void run_mmap(char **arg, int args)
{
	struct mapping *mapping = &mappings[slot_of(arg[0])];
	size_t length = number_of(arg[5]);
	void *at = mmap(NULL, length, number_of(arg[2]), number_of(arg[3]), slots[slot_of(arg[1])],
			number_of(arg[4]));

	(void)args;
	if (mapping->at != NULL)
		munmap(mapping->at, mapping->length);
	*mapping = at == MAP_FAILED ? (struct mapping){ 0 } : (struct mapping){ at, length };
	answer_result(at == MAP_FAILED ? -1 : 0);
}

static sigjmp_buf fault;

static void on_fault(int signal)
{
	(void)signal;
	siglongjmp(fault, 1);
}

/* Whether `length` bytes at `offset` of a mapping could be copied; past the end of a file they cannot. */
static int copy_mapped(void *to, const void *from, size_t length)
{
	struct sigaction action = { .sa_handler = on_fault }, before;
	volatile int copied = 0;

	sigaction(SIGBUS, &action, &before);
	if (sigsetjmp(fault, 1) == 0) {
		memcpy(to, from, length);
		copied = 1;
	}
	sigaction(SIGBUS, &before, NULL);
	return copied;
}

static unsigned char *mapped(const char *mapping_text, size_t offset, size_t length)
{
	struct mapping *mapping = &mappings[slot_of(mapping_text)];

	if (mapping->at == NULL || offset > mapping->length || length > mapping->length - offset)
		return NULL;
	return mapping->at + offset;
}

/* mread MAPPING LENGTH OFFSET */
static void run_mread(char **arg, int args)
{
	size_t length = number_of(arg[1]);
	unsigned char *at = mapped(arg[0], number_of(arg[2]), length);
	unsigned char *buffer = buffer_for(length + 1);

	(void)args;
	if (at == NULL)
		answer("unmapped");
	else if (!copy_mapped(buffer, at, length))
		answer("SIGBUS");
	else
		answer_bytes(buffer, length);
}

/* mwrite MAPPING DATA OFFSET */
static void run_mwrite(char **arg, int args)
{
	struct data data = data_of(arg[1]);
	unsigned char *at = mapped(arg[0], number_of(arg[2]), data.length);

	(void)args;
	if (at == NULL)
		answer("unmapped");
	else
		answer(copy_mapped(at, data.bytes, data.length) ? "0" : "SIGBUS");
}

static void run_msync(char **arg, int args)
{
	struct mapping *mapping = &mappings[slot_of(arg[0])];

	(void)args;
	answer_result(msync(mapping->at, mapping->length, MS_SYNC));
}

static void run_munmap(char **arg, int args)
{
	struct mapping *mapping = &mappings[slot_of(arg[0])];

	(void)args;
	answer_result(munmap(mapping->at, mapping->length));
	*mapping = (struct mapping){ 0 };
}

const struct command file_commands[] = {
	{ "open", run_open, 3, 4 },	    { "close", run_close, 1, 1 },
	{ "write", run_write, 2, 3 },	    { "append", run_append, 2, 2 },
	{ "pwrite", run_pwrite, 3, 3 },	    { "pread", run_pread, 3, 3 },
	{ "read", run_read, 2, 2 },	    { "cat", run_cat, 1, 1 },
	{ "lseek", run_lseek, 3, 3 },	    { "fallocate", run_fallocate, 4, 4 },
	{ "posix_fallocate", run_posix_fallocate, 3, 3 },
	{ "copy", run_copy, 5, 5 },	    { "fsync", run_fsync, 1, 1 },
	{ "fdatasync", run_fdatasync, 1, 1 }, { "syncfs", run_syncfs, 1, 1 },
	{ "mmap", run_mmap, 6, 6 },	    { "mread", run_mread, 3, 3 },
	{ "mwrite", run_mwrite, 3, 3 },	    { "msync", run_msync, 1, 1 },
	{ "munmap", run_munmap, 1, 1 },	    { 0 },
};
