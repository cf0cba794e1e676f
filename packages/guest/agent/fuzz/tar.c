/* libFuzzer target for tar headers: an archive in memory is read as tar-unpack.c reads one, and what was understood is
 * written and read again. Built and run by test/tar-parser.test.ts. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../tar.h"

static struct tar_entry entry, again;
static struct tar_extension extension;

/* Everything Linux can have survives. */
static void check_round_trip(void) {
	static uint8_t bytes[TAR_FORMAT_MAX];
	size_t size = tar_format(&entry, bytes);
	assert(size && size <= sizeof bytes && size % TAR_BLOCK == 0);
	memset(&extension, 0, sizeof extension);
	assert(!tar_parse_header(bytes, &again));
	if (size > TAR_BLOCK) {
		assert(again.type == TAR_PAX && again.size + 2 * TAR_BLOCK <= size);
		assert(!tar_parse_pax(bytes + TAR_BLOCK, (size_t)again.size, &extension));
		assert(!tar_parse_header(bytes + size - TAR_BLOCK, &again));
	}
	tar_extend(&again, &extension);
	assert(again.mode == entry.mode && again.uid == entry.uid && again.gid == entry.gid && again.mtime == entry.mtime);
	assert(!strcmp(again.name, entry.name) && !strcmp(again.link, entry.link));
	assert(again.type == entry.type && again.size == entry.size);
}

static void read_archive(const uint8_t *data, size_t size) {
	for (size_t at = 0; size - at >= TAR_BLOCK;) {
		if (tar_parse_header(data + at, &entry))
			return;
		at += TAR_BLOCK;
		assert(memchr(entry.name, 0, sizeof entry.name) && memchr(entry.link, 0, sizeof entry.link));
		if (entry.type >= TAR_FILE && entry.type <= TAR_FIFO) {
			tar_extend(&entry, &extension);
			/* The last digits of the largest times are not taken. */
			if (entry.mtime > INT64_MIN / 16 && entry.mtime < INT64_MAX / 16)
				check_round_trip();
		}
		uint64_t padded = entry.size + -entry.size % TAR_BLOCK;
		if (padded > size - at)
			return;
		if (entry.type == TAR_PAX && tar_parse_pax(data + at, (size_t)entry.size, &extension))
			return;
		if ((entry.type == TAR_GNU_NAME || entry.type == TAR_GNU_LINK) &&
			tar_parse_gnu(entry.type, data + at, (size_t)entry.size, &extension))
			return;
		at += (size_t)padded;
	}
}

/* The fuzzer would not find a checksum: it is put right, in every block that could be a header. */
static void mend(uint8_t *data, size_t size) {
	for (uint8_t *block = data; (size_t)(data + size - block) >= TAR_BLOCK; block += TAR_BLOCK) {
		if (memcmp(block + 257, "ustar", 5))
			continue;
		uint32_t sum = 0;
		for (int i = 0; i < TAR_BLOCK; i++)
			sum += i >= 148 && i < 156 ? ' ' : block[i];
		for (int i = 6; i-- > 0; sum >>= 3)
			block[148 + i] = (uint8_t)('0' + (sum & 7));
		block[154] = 0;
		block[155] = ' ';
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	memset(&extension, 0, sizeof extension);
	tar_parse_pax(data, size, &extension);
	memset(&extension, 0, sizeof extension);
	uint8_t *copy = malloc(size + 1);
	memcpy(copy, data, size);
	mend(copy, size);
	read_archive(copy, size);
	free(copy);
	return 0;
}
