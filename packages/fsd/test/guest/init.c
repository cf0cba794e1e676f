/*
 * PID 1 of the test guest: loads /modules/order if there is one, mounts the virtio-fs "fs", tries what
 * programs do with files, and prints a line "ok NAME" or "failed NAME: why" for each. Then the machine resets,
 * or with "wait" on the kernel's command line stays as it is, with a file open. With "append" it writes numbered
 * blocks to a file that it holds open, until a file "stop" appears.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static char commandLine[4096];
static char block[1 << 20];

static void loadModules(void) {
  char name[128], path[160];
  FILE *order = fopen("/modules/order", "r");
  while (order && fgets(name, sizeof name, order)) {
    name[strcspn(name, "\n")] = 0;
    snprintf(path, sizeof path, "/modules/%s", name);
    int fd = open(path, O_RDONLY);
    if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
      printf("failed module %s: %s\n", name, strerror(errno));
    close(fd);
  }
}

/* Says which line of a test failed, and why. */
#define TRY(condition) \
  if (!(condition)) { \
    printf("failed %s: %s (%s)\n", __func__, #condition, strerror(errno)); \
    return; \
  }
#define DONE printf("ok %s\n", __func__)

static void data(void) {
  int in = open("/mnt/in", O_RDONLY), out = open("/mnt/out", O_CREAT | O_RDWR, 0640);
  TRY(in >= 0 && out >= 0);
  ssize_t n;
  while ((n = read(in, block, sizeof block)) > 0) TRY(write(out, block, n) == n);
  TRY(n == 0 && fsync(out) == 0);
  struct stat from, to;
  TRY(fstat(in, &from) == 0 && fstat(out, &to) == 0 && from.st_size == to.st_size);
  TRY((to.st_mode & 07777) == 0640);
  char *mapped = mmap(NULL, to.st_size, PROT_READ, MAP_SHARED, out, 0);
  TRY(mapped != MAP_FAILED);
  TRY(pread(in, block, 4096, 8192) == 4096 && memcmp(block, mapped + 8192, 4096) == 0);
  TRY(munmap(mapped, to.st_size) == 0);
  TRY(pwrite(out, "end", 3, to.st_size) == 3 && ftruncate(out, to.st_size) == 0);
  close(in), close(out);
  DONE;
}

static void names(void) {
  struct stat s, t;
  TRY(mkdir("/mnt/dir", 0755) == 0);
  TRY(close(open("/mnt/dir/a", O_CREAT | O_EXCL | O_WRONLY, 0600)) == 0);
  TRY(open("/mnt/dir/a", O_CREAT | O_EXCL | O_WRONLY, 0600) < 0 && errno == EEXIST);
  TRY(link("/mnt/dir/a", "/mnt/dir/b") == 0);
  TRY(stat("/mnt/dir/a", &s) == 0 && stat("/mnt/dir/b", &t) == 0);
  TRY(s.st_ino == t.st_ino && s.st_nlink == 2);
  TRY(rename("/mnt/dir/b", "/mnt/dir/c") == 0 && stat("/mnt/dir/b", &t) < 0 && errno == ENOENT);
  TRY(symlink("a", "/mnt/dir/link") == 0 && stat("/mnt/dir/link", &t) == 0 && t.st_ino == s.st_ino);
  TRY(rmdir("/mnt/dir") < 0 && errno == ENOTEMPTY);
  TRY(chmod("/mnt/dir/a", 0444) == 0 && chown("/mnt/dir/a", 1000, 1001) == 0);
  TRY(stat("/mnt/dir/c", &t) == 0 && t.st_uid == 1000 && t.st_gid == 1001);
  TRY(unlink("/mnt/dir/a") == 0 && unlink("/mnt/dir/c") == 0 && unlink("/mnt/dir/link") == 0);
  TRY(rmdir("/mnt/dir") == 0);
  DONE;
}

static void directory(void) {
  char path[64];
  int found = 0;
  TRY(mkdir("/mnt/many", 0755) == 0);
  for (int i = 0; i < 300; i++) {
    snprintf(path, sizeof path, "/mnt/many/a-name-of-some-length-%03d", i);
    TRY(close(open(path, O_CREAT | O_WRONLY, 0600)) == 0);
  }
  DIR *dir = opendir("/mnt/many");
  TRY(dir);
  for (struct dirent *entry; (entry = readdir(dir));) {
    if (entry->d_name[0] == '.') continue;
    found++;
    TRY(unlinkat(dirfd(dir), entry->d_name, 0) == 0);
  }
  closedir(dir);
  TRY(found == 300 && rmdir("/mnt/many") == 0);
  DONE;
}

static void unlinked(void) {
  char text[8] = "";
  int fd = open("/mnt/gone", O_CREAT | O_RDWR, 0600);
  TRY(fd >= 0 && unlink("/mnt/gone") == 0);
  TRY(pwrite(fd, "still", 5, 0) == 5 && pread(fd, text, 7, 0) == 5 && !strcmp(text, "still"));
  TRY(close(fd) == 0);
  DONE;
}

static void attributes(void) {
  struct statvfs fs;
  char value[8] = "";
  TRY(statvfs("/mnt", &fs) == 0 && fs.f_namemax == 255);
  TRY(setxattr("/mnt/out", "user.key", "value", 5, 0) == 0);
  TRY(getxattr("/mnt/out", "user.key", value, sizeof value) == 5 && !strcmp(value, "value"));
  DONE;
}

static void append(void) {
  long blocks = 0;
  int out = open("/mnt/blocks", O_CREAT | O_EXCL | O_WRONLY, 0600), in = open("/mnt/in", O_RDONLY);
  TRY(out >= 0 && in >= 0);
  while (access("/mnt/stop", F_OK)) {
    for (int i = 0; i < 512; i++) ((long *)block)[i] = blocks;
    TRY(write(out, block, 4096) == 4096);
    if (blocks++ == 0) printf("appending\n");
  }
  TRY(pread(in, block, 1, 0) == 1);
  TRY(fsync(out) == 0 && close(out) == 0 && close(in) == 0);
  DONE;
}

int main(void) {
  mkdir("/proc", 0755), mkdir("/dev", 0755), mkdir("/mnt", 0755);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  int console = open("/dev/console", O_RDWR);
  if (console >= 0) dup2(console, 0), dup2(console, 1), dup2(console, 2);
  setvbuf(stdout, NULL, _IONBF, 0);
  FILE *line = fopen("/proc/cmdline", "r");
  if (line) fgets(commandLine, sizeof commandLine, line);
  loadModules();
  if (mount("fs", "/mnt", "virtiofs", 0, NULL)) {
    printf("failed mount: %s\n", strerror(errno));
  } else if (strstr(commandLine, "wait")) {
    open("/mnt/in", O_RDONLY);
    printf("waiting\n");
    for (;;) pause();
  } else if (strstr(commandLine, "append")) {
    append();
    printf("%s\n", umount("/mnt") ? "failed umount" : "ok umount");
  } else {
    data(), names(), directory(), unlinked(), attributes();
    printf("%s\n", umount("/mnt") ? "failed umount" : "ok umount");
  }
  reboot(RB_AUTOBOOT);
  return 1;
}
