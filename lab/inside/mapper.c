// mapper store FILE OFFSET TEXT   write TEXT through a shared mapping
// mapper load FILE OFFSET LENGTH  print what a shared mapping holds
// mapper append FILE LENGTH TO    append LENGTH bytes of a mapping of FILE to TO
// mapper direct FILE LENGTH FROM  read LENGTH bytes of FROM into a mapping of FILE, past any cache
// mapper watch FILE OFFSET        print the byte at OFFSET for each line of standard input
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char *map(const char *path, off_t offset, size_t length, int writable) {
  int fd = open(path, writable ? O_RDWR : O_RDONLY);
  if (fd < 0) { perror(path); exit(1); }
  off_t start = offset & ~4095l;
  int protection = PROT_READ | (writable ? PROT_WRITE : 0);
  char *memory = mmap(NULL, offset - start + length, protection, MAP_SHARED, fd, start);
  if (memory == MAP_FAILED) { perror("mmap"); exit(1); }
  return memory + (offset - start);
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  off_t offset = atol(argv[3]);
  if (!strcmp(argv[1], "store")) {
    memcpy(map(argv[2], offset, strlen(argv[4]), 1), argv[4], strlen(argv[4]));
  } else if (!strcmp(argv[1], "load")) {
    fwrite(map(argv[2], offset, atol(argv[4]), 0), 1, atol(argv[4]), stdout);
  } else if (!strcmp(argv[1], "append") || !strcmp(argv[1], "direct")) {
    int append = argv[1][0] == 'a';
    char *memory = map(argv[2], 0, offset, !append);
    int other = open(argv[4], append ? O_WRONLY | O_APPEND : O_RDONLY | O_DIRECT);
    ssize_t done = append ? write(other, memory, offset) : read(other, memory, offset);
    if (done != offset) { perror(argv[4]); return 1; }
  } else {
    volatile char *memory = map(argv[2], offset, 1, 0);
    char line[16];
    while (fgets(line, sizeof line, stdin)) { printf("%d\n", *memory); fflush(stdout); }
  }
  return 0;
}
