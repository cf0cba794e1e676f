/*
 * The executor: runs file system operations below one directory, as lines of standard input ask, and
 * answers each with one line. See ../README.md for the commands.
 */
#pragma once
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SLOTS 64

/* Arguments are decoded already: an operation sees bytes, without NUL in names. */
typedef void operation(char **arg, int args);

struct command {
	const char *name;
	operation *run;
	int least, most; /* arguments */
};

/* Commands of each file, ended by an entry without a name. */
extern const struct command name_commands[], attribute_commands[], file_commands[], lock_commands[],
	tree_commands[];

/* answer.c: the line that goes back. */
void answer(const char *format, ...) __attribute__((format(printf, 1, 2)));
void answer_result(long result); /* a system call's: a number, or the name of errno */
void answer_bytes(const unsigned char *bytes, size_t length);
void send_answer(int fd);

/* arguments.c */
struct data {
	unsigned char *bytes;
	size_t length;
};
struct place {
	int dirfd;
	const char *path; /* "" for the open file itself */
};
void decode_percent(char *token);
long number_of(const char *text); /* 0644, -1, O_RDWR|O_CREAT, UINT32_MAX ... */
struct place place_of(const char *text); /* a/b, @3 (an open file), @3/b (below an open directory) */
struct data data_of(const char *text); /* text, or #LENGTH:SEED for pseudo-random bytes */

/* files.c */
extern int slots[SLOTS];
int slot_of(const char *text);
void close_all(void);

/* tree.c */
void remove_below(int dirfd);
