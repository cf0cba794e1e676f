/* File operations for images without tools of their own: functions run like a program, in a process with the user,
 * working directory, streams and limits of any other request. */
#ifndef BUILTIN_H
#define BUILTIN_H

#include <stddef.h>

/* argv is one of these. Numbers are decimal, MODE is octal; FLAGS are letters, `-` for none.
 *   read PATH                    the file's bytes to stdout
 *   write PATH MODE HOW          stdin into a file; HOW is `replace` or `append`; MODE `-`: see files-transfer.c
 *   stat PATH HOW                a struct file_record; HOW is `follow` or `nofollow`
 *   list PATH                    a struct file_record for each entry
 *   remove PATH FLAGS            r: what is in it, too; f: it may be missing
 *   rename FROM TO
 *   mkdir PATH MODE FLAGS        p: its parents, too, and it may exist
 *   symlink PATH TARGET
 *   chmod PATH MODE
 *   chown PATH UID GID           4294967295 leaves one as it is
 *   watch PATH FLAGS             struct watch_record until the process is ended; r: below it, too
 *   pack PATH NAME FLAGS         a tar archive in which PATH is called NAME; L: of what the link PATH names
 *   unpack DIRECTORY FLAGS       a tar archive on stdin into DIRECTORY; a: with its owners
 * Returns 0, or ENOSYS where there is no such function with that many arguments. */
int builtin_open(char *const *argv);

/* Runs it. Returns the exit code; after a failure stderr begins with "ERRNO PATH: ", ERRNO being a number. */
int builtin_run(void);

/* Says on stderr what failed, on what. Returns 1, the exit code. */
int builtin_failed(int code, const char *path);

/* Returns 0 or an errno. */
int write_all(int fd, const void *bytes, size_t length);

#endif
