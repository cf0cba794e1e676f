/* What an operation found, as one line of text. */
#include "executor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Data up to this length is shown, longer data as its length and hash. */
#define SHOWN 64

static char *line;
static size_t used, room;

static void reserve(size_t more)
{
	if (used + more + 2 <= room)
		return;
	room = 2 * (used + more + 128);
	line = realloc(line, room);
	if (line == NULL)
		abort();
}

void answer(const char *format, ...)
{
	va_list arguments, again;

	va_start(arguments, format);
	va_copy(again, arguments);
	int length = vsnprintf(NULL, 0, format, arguments);
	reserve(length + 1);
	vsnprintf(line + used, length + 1, format, again);
	used += length;
	va_end(again);
	va_end(arguments);
}

void answer_result(long result)
{
	if (result != -1)
		answer("%ld", result);
	else
		answer("%s", strerrorname_np(errno));
}

static int is_plain(unsigned char byte)
{
	return byte > ' ' && byte < 0x7f && byte != '%' && byte != '#';
}

void answer_bytes(const unsigned char *bytes, size_t length)
{
	if (length > SHOWN) {
		/* FNV-1a */
		uint32_t hash = 2166136261;

		for (size_t i = 0; i < length; i++)
			hash = (hash ^ bytes[i]) * 16777619;
		answer("#%zu~%08x", length, hash);
		return;
	}
	if (length == 0)
		answer("''");
	for (size_t i = 0; i < length; i++) {
		if (is_plain(bytes[i]))
			answer("%c", bytes[i]);
		else
			answer("%%%02x", bytes[i]);
	}
}

void send_answer(int fd)
{
	reserve(0);
	line[used++] = '\n';
	for (size_t done = 0; done < used;) {
		ssize_t count = write(fd, line + done, used - done);

		if (count <= 0)
			exit(1);
		done += count;
	}
	used = 0;
}
