#include "account.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 16 << 10, FILE_MAX_BYTES = 4 << 20 };

/* A file read line by line in bounded memory. A line that does not fit is skipped whole: half a line of /etc/group
 * could otherwise be read as another line. */
struct lines {
	int fd;
	size_t used, total;
	size_t next; /* where the line after the current one starts */
	bool skipping;
	char buffer[LINE_MAX_BYTES];
};

static bool lines_open(struct lines *lines, const char *path) {
	/* O_NONBLOCK: a FIFO in place of the file must not hold the process up. */
	lines->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	lines->used = lines->total = lines->next = 0;
	lines->skipping = false;
	struct stat st;
	if (lines->fd >= 0 && (fstat(lines->fd, &st) || !S_ISREG(st.st_mode))) {
		close(lines->fd);
		lines->fd = -1;
	}
	return lines->fd >= 0;
}

static void lines_close(struct lines *lines) {
	if (lines->fd >= 0)
		close(lines->fd);
}

static char *lines_next(struct lines *lines) {
	for (;;) {
		lines->used -= lines->next;
		memmove(lines->buffer, lines->buffer + lines->next, lines->used);
		lines->next = 0;
		char *newline;
		while (!(newline = memchr(lines->buffer, '\n', lines->used))) {
			if (lines->used == sizeof lines->buffer - 1) {
				lines->skipping = true;
				lines->used = 0;
			}
			ssize_t n = lines->total > FILE_MAX_BYTES
				? 0
				: read(lines->fd, lines->buffer + lines->used, sizeof lines->buffer - 1 - lines->used);
			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0) {
				if (!lines->used || lines->skipping)
					return NULL;
				newline = lines->buffer + lines->used++; /* the last line need not end in a newline */
				break;
			}
			lines->used += (size_t)n;
			lines->total += (size_t)n;
		}
		*newline = 0;
		lines->next = (size_t)(newline - lines->buffer) + 1;
		if (!lines->skipping)
			return lines->buffer;
		lines->skipping = false;
	}
}

/* Splits at ':' into exactly `count` fields; the last one keeps further colons. */
static bool split(char *line, char **fields, int count) {
	for (int i = 0; i < count; i++) {
		fields[i] = line;
		if (i == count - 1)
			break;
		line = strchr(line, ':');
		if (!line)
			return false;
		*line++ = 0;
	}
	return true;
}

/* 4294967295 is no id: the kernel takes it for "leave as it is". */
static bool parse_id(const char *text, uint32_t *id) {
	if (*text < '0' || *text > '9' || strlen(text) > 10)
		return false;
	char *end;
	unsigned long long value = strtoull(text, &end, 10);
	*id = (uint32_t)value;
	return !*end && value < UINT32_MAX;
}

/* Fields of passwd(5): name, password, uid, gid, comment, home, shell. */
static bool find_user(const char *path, const char *name, bool numeric, struct account *out, char *found_name,
	size_t name_size) {
	static struct lines lines;
	uint32_t uid, gid;
	bool found = false;
	if (!lines_open(&lines, path))
		return false;
	for (char *line, *field[7]; !found && (line = lines_next(&lines));) {
		if (!split(line, field, 7) || !parse_id(field[2], &uid) || !parse_id(field[3], &gid))
			continue;
		if (numeric ? uid != out->uid : strcmp(field[0], name) != 0)
			continue;
		found = strlen(field[0]) < name_size && strlen(field[5]) < sizeof out->home;
		if (!found)
			continue;
		out->uid = uid;
		out->gid = gid;
		strcpy(out->home, field[5]);
		strcpy(found_name, field[0]);
	}
	lines_close(&lines);
	return found;
}

static bool has_member(char *members, const char *name) {
	for (char *rest, *member = strtok_r(members, ",", &rest); member; member = strtok_r(NULL, ",", &rest))
		if (!strcmp(member, name))
			return true;
	return false;
}

/* Fields of group(5): name, password, gid, members. */
static bool find_group(const char *path, const char *name, gid_t *gid) {
	static struct lines lines;
	uint32_t id;
	bool found = false;
	if (!lines_open(&lines, path))
		return false;
	for (char *line, *field[4]; !found && (line = lines_next(&lines));)
		if (split(line, field, 4) && parse_id(field[2], &id) && !strcmp(field[0], name)) {
			*gid = id;
			found = true;
		}
	lines_close(&lines);
	return found;
}

static void find_supplementary(const char *path, const char *user, struct account *out) {
	static struct lines lines;
	uint32_t id;
	if (!lines_open(&lines, path))
		return;
	for (char *line, *field[4]; out->group_count < ACCOUNT_GROUPS_MAX && (line = lines_next(&lines));)
		if (split(line, field, 4) && parse_id(field[2], &id) && has_member(field[3], user))
			out->groups[out->group_count++] = id;
	lines_close(&lines);
}

int account_resolve_in(const char *spec, const char *passwd_path, const char *group_path, struct account *out) {
	char user[256], user_name[256] = "";
	const char *colon = strchr(spec, ':');
	size_t length = colon ? (size_t)(colon - spec) : strlen(spec);
	if (length >= sizeof user)
		return -1;
	memcpy(user, spec, length);
	user[length] = 0;

	memset(out, 0, sizeof *out);
	strcpy(out->home, "/");
	uint32_t id = 0;
	bool numeric = !*user || parse_id(user, &id);
	out->uid = id;
	if (!find_user(passwd_path, user, numeric, out, user_name, sizeof user_name) && !numeric)
		return -1;

	const char *group = colon ? colon + 1 : "";
	if (*group) {
		uint32_t gid;
		if (!parse_id(group, &gid) && !find_group(group_path, group, &gid))
			return -1;
		out->gid = gid;
	} else if (*user_name) {
		find_supplementary(group_path, user_name, out);
	}
	return 0;
}

int account_resolve(const char *spec, struct account *out) {
	return account_resolve_in(spec, "/etc/passwd", "/etc/group", out);
}
