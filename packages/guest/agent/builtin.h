/* File transfer for images without tools of their own: functions run like a program, in a process with the user,
 * working directory, streams and limits of any other request. */
#ifndef BUILTIN_H
#define BUILTIN_H

/* argv is one of
 *   read PATH         the file's bytes to stdout
 *   write PATH MODE   stdin into a new file that takes the name PATH when stdin ends; MODE octal
 * Opens what it names. Returns 0 or an errno. */
int builtin_open(char *const *argv);

/* Transfers. Returns the exit code; what went wrong is on stderr. */
int builtin_run(void);

#endif
