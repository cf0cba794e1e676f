#include "tar.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* POSIX.1-2017, pax, "ustar Interchange Format". */
struct header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], checksum[8], type, link[100], magic[6], version[2];
	char user[32], group[32], major[8], minor[8], prefix[155], padding[12];
};
_Static_assert(sizeof(struct header) == TAR_BLOCK, "a tar header is one block");

static uint32_t checksum(const struct header *header) {
	const uint8_t *bytes = (const uint8_t *)header;
	uint32_t sum = 0;
	for (size_t i = 0; i < sizeof *header; i++) {
		bool own = i >= offsetof(struct header, checksum) && i < offsetof(struct header, type);
		sum += own ? ' ' : bytes[i];
	}
	return sum;
}

/* Octal digits between blanks, or GNU's base 256, whose first byte has the top bit set. */
static bool parse_number(const char *field, size_t size, int64_t *out) {
	const uint8_t *at = (const uint8_t *)field, *end = at + size;
	if (*at & 0x80) {
		int64_t value = *at & 0x40 ? -1 : 0;
		for (bool first = true; at < end; at++, first = false) {
			if (value >= INT64_MAX >> 8 || value < INT64_MIN >> 8)
				return false;
			value = value * 256 + (first ? (*at & 0x3f) | (*at & 0x40 ? 0xc0 : 0) : *at);
		}
		*out = value;
		return true;
	}
	uint64_t value = 0;
	while (at < end && *at == ' ')
		at++;
	for (; at < end && *at >= '0' && *at <= '7'; at++)
		value = value * 8 + (uint64_t)(*at - '0'); /* at most 12 digits */
	if (at < end && *at && *at != ' ')
		return false;
	*out = (int64_t)value;
	return true;
}

static bool parse_u32(const char *field, size_t size, uint32_t *out) {
	int64_t value;
	if (!parse_number(field, size, &value) || value < 0 || value > UINT32_MAX)
		return false;
	*out = (uint32_t)value;
	return true;
}

int tar_parse_header(const uint8_t block[TAR_BLOCK], struct tar_entry *out) {
	const struct header *h = (const struct header *)block;
	static const uint8_t zeros[TAR_BLOCK];
	if (!memcmp(block, zeros, sizeof zeros))
		return ENODATA;
	uint32_t sum;
	int64_t size;
	if (!parse_u32(h->checksum, sizeof h->checksum, &sum) || sum != checksum(h) ||
		!parse_u32(h->mode, sizeof h->mode, &out->mode) || !parse_u32(h->uid, sizeof h->uid, &out->uid) ||
		!parse_u32(h->gid, sizeof h->gid, &out->gid) || !parse_number(h->size, sizeof h->size, &size) || size < 0 ||
		!parse_number(h->mtime, sizeof h->mtime, &out->mtime))
		return EBADMSG;
	out->type = h->type && h->type != '7' ? h->type : TAR_FILE;
	out->mode &= 07777;
	out->size = (uint64_t)size;
	out->device_major = out->device_minor = 0;
	if ((out->type == TAR_CHARACTER || out->type == TAR_BLOCK_DEVICE) &&
		(!parse_u32(h->major, sizeof h->major, &out->device_major) ||
			!parse_u32(h->minor, sizeof h->minor, &out->device_minor)))
		return EBADMSG;
	/* GNU's magic ends in blanks; what POSIX has at `prefix` is something else there. */
	bool prefixed = !memcmp(h->magic, "ustar", sizeof h->magic) && *h->prefix;
	int prefix_length = prefixed ? (int)sizeof h->prefix : 0;
	snprintf(out->name, sizeof out->name, "%.*s%s%.*s", prefix_length, h->prefix, prefixed ? "/" : "",
		(int)sizeof h->name, h->name);
	snprintf(out->link, sizeof out->link, "%.*s", (int)sizeof h->link, h->link);
	return 0;
}

/* -- Extended headers */

static int take_path(const uint8_t *value, size_t length, char out[PATH_MAX], bool *has) {
	if (length >= PATH_MAX)
		return ENAMETOOLONG;
	if (memchr(value, 0, length))
		return EBADMSG;
	memcpy(out, value, length);
	out[length] = 0;
	*has = length > 0;
	return 0;
}

/* A decimal number; a fraction, as of times, is cut off. */
static int take_number(const uint8_t *value, size_t length, int64_t max, int64_t *out, bool *has) {
	bool negative = length && *value == '-';
	int64_t number = 0;
	size_t i = negative;
	for (; i < length && value[i] >= '0' && value[i] <= '9'; i++) {
		if (number > (INT64_MAX - 9) / 10)
			return EBADMSG;
		number = number * 10 + (value[i] - '0');
	}
	if (i == negative || (i < length && value[i] != '.') || number > max)
		return EBADMSG;
	*out = negative ? -number : number;
	*has = true;
	return 0;
}

static int take_record(const char *key, size_t key_length, const uint8_t *value, size_t length,
	struct tar_extension *out) {
	int64_t number;
	int code = 0;
#define IS(name) (key_length == sizeof name - 1 && !memcmp(key, name, key_length))
	if (IS("path"))
		return take_path(value, length, out->name, &out->has_name);
	if (IS("linkpath"))
		return take_path(value, length, out->link, &out->has_link);
	if (IS("size")) {
		if (!(code = take_number(value, length, INT64_MAX, &number, &out->has_size)) && number >= 0)
			out->size = (uint64_t)number;
	} else if (IS("uid")) {
		if (!(code = take_number(value, length, UINT32_MAX, &number, &out->has_uid)) && number >= 0)
			out->uid = (uint32_t)number;
	} else if (IS("gid")) {
		if (!(code = take_number(value, length, UINT32_MAX, &number, &out->has_gid)) && number >= 0)
			out->gid = (uint32_t)number;
	} else if (IS("mtime")) {
		return take_number(value, length, INT64_MAX, &out->mtime, &out->has_mtime);
	} else if (key_length > 11 && !memcmp(key, "GNU.sparse.", 11)) {
		return EOPNOTSUPP;
	} else {
		return 0;
	}
#undef IS
	return code ? code : number < 0 ? EBADMSG : 0;
}

int tar_parse_pax(const uint8_t *records, size_t length, struct tar_extension *out) {
	/* Each is "%d %s=%s\n", the number being the length of all of it. */
	for (size_t at = 0; at < length;) {
		size_t size = 0, digits = at;
		for (; digits < length && digits - at < 8 && records[digits] >= '0' && records[digits] <= '9'; digits++)
			size = size * 10 + (size_t)(records[digits] - '0');
		if (digits == at || digits == length || records[digits] != ' ' || size > length - at || size < digits - at + 2 ||
			records[at + size - 1] != '\n')
			return EBADMSG;
		const uint8_t *key = records + digits + 1, *end = records + at + size - 1;
		const uint8_t *equals = memchr(key, '=', (size_t)(end - key));
		if (!equals || equals == key)
			return EBADMSG;
		int code = take_record((const char *)key, (size_t)(equals - key), equals + 1, (size_t)(end - equals - 1), out);
		if (code)
			return code;
		at += size;
	}
	return 0;
}

int tar_parse_gnu(char type, const uint8_t *bytes, size_t length, struct tar_extension *out) {
	length = strnlen((const char *)bytes, length);
	return type == TAR_GNU_NAME ? take_path(bytes, length, out->name, &out->has_name)
								: take_path(bytes, length, out->link, &out->has_link);
}

void tar_extend(struct tar_entry *entry, const struct tar_extension *extension) {
	if (extension->has_name)
		strcpy(entry->name, extension->name);
	if (extension->has_link)
		strcpy(entry->link, extension->link);
	if (extension->has_size && entry->type == TAR_FILE)
		entry->size = extension->size;
	if (extension->has_uid)
		entry->uid = extension->uid;
	if (extension->has_gid)
		entry->gid = extension->gid;
	if (extension->has_mtime)
		entry->mtime = extension->mtime;
	/* Archives older than POSIX mark a directory by its name, of which the header alone may have a part. */
	size_t length = strlen(entry->name);
	if (entry->type == TAR_FILE && length && entry->name[length - 1] == '/')
		entry->type = TAR_DIRECTORY;
	/* Only a file has content, whatever the header says. */
	if (entry->type >= TAR_LINK && entry->type <= TAR_FIFO)
		entry->size = 0;
}

/* -- Writing */

static void put_octal(char *field, size_t size, uint64_t value) {
	field[size - 1] = 0;
	for (size_t i = size - 1; i-- > 0; value >>= 3)
		field[i] = (char)('0' + (value & 7));
}

static void put_header(uint8_t *out, const struct tar_entry *entry, char type, const char *name, uint64_t size) {
	struct header *h = (struct header *)out;
	memset(h, 0, sizeof *h);
	memcpy(h->name, name, strnlen(name, sizeof h->name));
	memcpy(h->link, entry->link, strnlen(entry->link, sizeof h->link));
	put_octal(h->mode, sizeof h->mode, entry->mode);
	/* Where a number does not fit, a pax record has it. */
	put_octal(h->uid, sizeof h->uid, entry->uid);
	put_octal(h->gid, sizeof h->gid, entry->gid);
	put_octal(h->size, sizeof h->size, size);
	put_octal(h->mtime, sizeof h->mtime, entry->mtime < 0 ? 0 : (uint64_t)entry->mtime);
	put_octal(h->major, sizeof h->major, entry->device_major);
	put_octal(h->minor, sizeof h->minor, entry->device_minor);
	h->type = type;
	memcpy(h->magic, "ustar", 6);
	memcpy(h->version, "00", 2);
	put_octal(h->checksum, 7, checksum(h));
	h->checksum[7] = ' ';
}

/* Appends a record. Its length counts its own digits, too. */
static size_t put_record(char *out, const char *key, const char *value) {
	size_t rest = strlen(key) + strlen(value) + 3, length = rest + 1;
	for (size_t power = 10; length >= power; power *= 10)
		if (length + 1 > power)
			length++;
	return (size_t)sprintf(out, "%zu %s=%s\n", length, key, value);
}

static size_t put_number_record(char *out, const char *key, int64_t value) {
	char text[24];
	snprintf(text, sizeof text, "%lld", (long long)value);
	return put_record(out, key, text);
}

size_t tar_format(const struct tar_entry *entry, uint8_t out[TAR_FORMAT_MAX]) {
	const struct header *h = NULL;
	const uint64_t eleven_digits = (uint64_t)1 << 33;
	const uint32_t seven_digits = 1u << 21;
	char *records = (char *)out + TAR_BLOCK;
	size_t length = 0;
	if (strlen(entry->name) > sizeof h->name)
		length += put_record(records + length, "path", entry->name);
	if (strlen(entry->link) > sizeof h->link)
		length += put_record(records + length, "linkpath", entry->link);
	if (entry->size >= eleven_digits)
		length += put_number_record(records + length, "size", (int64_t)entry->size);
	if (entry->uid >= seven_digits)
		length += put_number_record(records + length, "uid", entry->uid);
	if (entry->gid >= seven_digits)
		length += put_number_record(records + length, "gid", entry->gid);
	if (entry->mtime < 0 || (uint64_t)entry->mtime >= eleven_digits)
		length += put_number_record(records + length, "mtime", entry->mtime);

	uint8_t *at = out;
	if (length) {
		struct tar_entry extended = {.type = TAR_PAX, .mode = 0644};
		put_header(at, &extended, TAR_PAX, "pax", length);
		size_t padded = (length + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
		memset(records + length, 0, padded - length);
		at += TAR_BLOCK + padded;
	}
	put_header(at, entry, entry->type, entry->name, entry->size);
	return (size_t)(at - out) + TAR_BLOCK;
}
