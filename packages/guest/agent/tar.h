/* Tar archives: ustar headers with pax records where those do not suffice (POSIX.1-2017, pax); GNU long names are
 * understood, too. Names and link targets are bytes. */
#ifndef TAR_H
#define TAR_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TAR_BLOCK = 512,
	/* Most bytes of pax records or of a GNU long name that are read. */
	TAR_EXTENSION_MAX = 1 << 20,
	/* Most bytes that tar_format() writes: an extended header, its records, a header. */
	TAR_FORMAT_MAX = 2 * TAR_BLOCK + 2 * PATH_MAX + TAR_BLOCK,
};

enum tar_type {
	TAR_FILE = '0',
	TAR_LINK = '1',
	TAR_SYMLINK = '2',
	TAR_CHARACTER = '3',
	TAR_BLOCK_DEVICE = '4',
	TAR_DIRECTORY = '5',
	TAR_FIFO = '6',
	TAR_PAX = 'x',
	TAR_PAX_GLOBAL = 'g',
	TAR_GNU_NAME = 'L',
	TAR_GNU_LINK = 'K',
};

struct tar_entry {
	char type;
	uint32_t mode; /* permission, set-id and sticky bits */
	uint32_t uid, gid;
	uint64_t size; /* of the content that follows */
	int64_t mtime;
	uint32_t device_major, device_minor;
	char name[PATH_MAX], link[PATH_MAX];
};

/* What extended headers say about the next entry. */
struct tar_extension {
	bool has_name, has_link, has_size, has_uid, has_gid, has_mtime;
	uint64_t size;
	uint32_t uid, gid;
	int64_t mtime;
	char name[PATH_MAX], link[PATH_MAX];
};

/* Each returns 0, or an errno: EBADMSG for what is no tar, ENAMETOOLONG for what Linux could not have. A block of zeros,
 * which ends an archive, gives ENODATA. */
int tar_parse_header(const uint8_t block[TAR_BLOCK], struct tar_entry *out);
int tar_parse_pax(const uint8_t *records, size_t length, struct tar_extension *out);
int tar_parse_gnu(char type, const uint8_t *bytes, size_t length, struct tar_extension *out);
void tar_extend(struct tar_entry *entry, const struct tar_extension *extension);

/* Writes what goes before the content. Returns its size, a multiple of TAR_BLOCK. */
size_t tar_format(const struct tar_entry *entry, uint8_t out[TAR_FORMAT_MAX]);

/* The builtins of these names. */
int tar_pack(char *const *argv);
int tar_unpack(char *const *argv);

#endif
