/* Operations on single files and directories: see builtin.h for their arguments. Each returns an exit code. */
#ifndef FILES_H
#define FILES_H

#include <stdint.h>

/* What `stat` and `list` print, little-endian; src/files/file-record.ts is the host's half. The bytes of the name (none
 * for `stat`) and of a symbolic link's target follow. */
struct file_record {
	uint64_t size;
	int64_t mtime_ns;
	uint32_t mode; /* as st_mode, with the type */
	uint32_t uid, gid, links;
	uint16_t name_length, target_length;
	uint32_t reserved;
};

int file_read(char *const *argv);
int file_write(char *const *argv);
int file_stat(char *const *argv);
int file_list(char *const *argv);
int file_remove(char *const *argv);
int file_rename(char *const *argv);
int file_mkdir(char *const *argv);
int file_symlink(char *const *argv);
int file_chmod(char *const *argv);
int file_chown(char *const *argv);

#endif
