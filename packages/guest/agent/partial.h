/* A file that has no name yet, or one of its own, until it takes the place of another: readers see the old content or the
 * new. There is one at a time. */
#ifndef PARTIAL_H
#define PARTIAL_H

/* In the directory of `path`. Returns a descriptor to write to, or -1 with errno. */
int partial_open(const char *path);

/* The file takes the name `path`. Returns 0 or an errno; the file is gone then. */
int partial_replace(int fd, const char *path);

/* Gives the file up. */
void partial_remove(void);

#endif
