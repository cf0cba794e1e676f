// Lists the directory argv[1] in the ways of directory streams, and fails where one skips or repeats a name.
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES = 1000 };
static char seen[FILES];

/* The number of a file that was there from the start; -1 for others. */
static int number_of(const struct dirent *entry) {
  int number;
  return sscanf(entry->d_name, "stays-%d", &number) == 1 && number < FILES ? number : -1;
}

static int read_some(DIR *dir, int limit) {
  struct dirent *entry;
  int count = 0;
  while (count < limit && (entry = readdir(dir)) != NULL) {
    int number = number_of(entry);
    if (number < 0) continue;
    if (seen[number]++) errx(1, "%s comes twice", entry->d_name);
    count++;
  }
  return count;
}

static void make(const char *format, int number) {
  char name[64];
  snprintf(name, sizeof name, format, number);
  int fd = open(name, O_CREAT | O_WRONLY, 0644);
  if (fd < 0 || close(fd) < 0) err(1, "%s", name);
}

int main(int argc, char **argv) {
  if (argc != 2 || chdir(argv[1]) < 0) err(1, "chdir");
  for (int i = 0; i < FILES; i++) make("stays-%d", i);
  DIR *dir = opendir(".");
  if (dir == NULL) err(1, "opendir");

  /* Names that come and go while the directory is read. */
  int count = 0;
  for (int i = 0; count < FILES; i++) {
    int more = read_some(dir, 50);
    if (more == 0) break;
    count += more;
    make("comes-%d", i);
    char name[64];
    snprintf(name, sizeof name, "comes-%d", i - 3);
    if (i >= 3 && unlink(name) < 0) err(1, "%s", name);
  }
  if (count != FILES) errx(1, "%d of %d names", count, FILES);

  /* A new name is seen after rewinddir. */
  make("late-%d", 0);
  rewinddir(dir);
  int late = 0;
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    late += strcmp(entry->d_name, "late-0") == 0;
  }
  if (late != 1) errx(1, "a new name was seen %d times", late);

  /* Going back repeats exactly what was read since. */
  rewinddir(dir);
  memset(seen, 0, sizeof seen);
  read_some(dir, 350);
  long place = telldir(dir);
  char before[FILES];
  memcpy(before, seen, sizeof seen);
  int rest = read_some(dir, FILES);
  memcpy(seen, before, sizeof seen);
  seekdir(dir, place);
  if (read_some(dir, FILES) != rest) errx(1, "seekdir gives other names");

  /* As rm -r does: remove what was read, and read on. */
  rewinddir(dir);
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (entry->d_name[0] != '.' && unlink(entry->d_name) < 0) err(1, "%s", entry->d_name);
  }
  rewinddir(dir);
  for (struct dirent *entry; (entry = readdir(dir)) != NULL;) {
    if (entry->d_name[0] != '.') errx(1, "%s was not removed", entry->d_name);
  }
  return 0;
}
