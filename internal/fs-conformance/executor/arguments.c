/* What the words of a command stand for. */
#include "executor.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define LONGEST (64 << 20)

static const struct constant {
	const char *name;
	long value;
} constants[] = {
#define C(name) { #name, name }
	C(O_RDONLY), C(O_WRONLY), C(O_RDWR), C(O_CREAT), C(O_EXCL), C(O_TRUNC), C(O_APPEND),
	C(O_DIRECTORY), C(O_NOFOLLOW), C(O_PATH), C(O_TMPFILE), C(O_SYNC), C(O_DSYNC), C(O_DIRECT),
	C(O_NOATIME), C(O_CLOEXEC), C(O_NONBLOCK),
	C(S_IFREG), C(S_IFDIR), C(S_IFLNK), C(S_IFIFO), C(S_IFSOCK), C(S_IFCHR), C(S_IFBLK),
	C(AT_SYMLINK_FOLLOW), C(AT_EMPTY_PATH), C(AT_REMOVEDIR),
	C(RENAME_NOREPLACE), C(RENAME_EXCHANGE), C(RENAME_WHITEOUT),
	C(FALLOC_FL_KEEP_SIZE), C(FALLOC_FL_PUNCH_HOLE), C(FALLOC_FL_ZERO_RANGE),
	C(FALLOC_FL_COLLAPSE_RANGE), C(FALLOC_FL_INSERT_RANGE), C(FALLOC_FL_UNSHARE_RANGE),
	C(SEEK_SET), C(SEEK_CUR), C(SEEK_END), C(SEEK_DATA), C(SEEK_HOLE),
	C(R_OK), C(W_OK), C(X_OK), C(F_OK),
	C(XATTR_CREATE), C(XATTR_REPLACE),
	C(LOCK_SH), C(LOCK_EX), C(LOCK_UN), C(F_RDLCK), C(F_WRLCK), C(F_UNLCK),
	C(PROT_READ), C(PROT_WRITE), C(MAP_SHARED), C(MAP_PRIVATE),
#undef C
};

static int hex(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

void decode_percent(char *token)
{
	char *to = token;

	if (strcmp(token, "''") == 0) {
		*token = '\0';
		return;
	}
	for (const char *from = token; *from != '\0'; from++) {
		if (*from == '%' && hex(from[1]) >= 0 && hex(from[2]) >= 0) {
			*to++ = hex(from[1]) * 16 + hex(from[2]);
			from += 2;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
}

static long term(const char *text, size_t length)
{
	for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
		if (strlen(constants[i].name) == length && strncmp(text, constants[i].name, length) == 0)
			return constants[i].value;
	char *end;
	long value = strtol(text, &end, 0);
	if (end == text || (size_t)(end - text) != length) {
		fprintf(stderr, "executor: %.*s is no number\n", (int)length, text);
		exit(2);
	}
	return value;
}

long number_of(const char *text)
{
	long value = 0;

	for (;;) {
		size_t length = strcspn(text, "|");

		value |= term(text, length);
		if (text[length] == '\0')
			return value;
		text += length + 1;
	}
}

struct place place_of(const char *text)
{
	if (text[0] != '@')
		return (struct place){ AT_FDCWD, text };
	const char *rest = text + 1 + strspn(text + 1, "0123456789");

	return (struct place){ slots[slot_of(text + 1)], *rest == '/' ? rest + 1 : rest };
}

struct data data_of(const char *text)
{
	static unsigned char *pattern;
	size_t length;
	uint32_t state;

	if (sscanf(text, "#%zu:%u", &length, &state) != 2)
		return (struct data){ (unsigned char *)text, strlen(text) };
	if (length > LONGEST)
		exit(2);
	pattern = realloc(pattern, length + 1);
	/* xorshift32; src/data.ts has its twin. */
	for (size_t i = 0; i < length; i++) {
		state ^= state << 13;
		state ^= state >> 17;
		state ^= state << 5;
		pattern[i] = state;
	}
	return (struct data){ pattern, length };
}
