/*
 * PID 1 of the test guest. Runs the steps named in the kernel command line's "steps=a,b,c" and prints
 * "step: result" lines, then resets the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct sockaddr_vm {
  unsigned short svm_family, svm_reserved1;
  unsigned int svm_port, svm_cid;
  unsigned char svm_zero[4];
};
#ifndef AF_VSOCK
#define AF_VSOCK 40
#endif

static void report(const char *step, const char *result) {
  printf("%s: %s\n", step, result);
  fflush(stdout);
}

static int vsock(unsigned int cid, unsigned int port, int listening) {
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = port, .svm_cid = cid};
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  if (!listening) return connect(fd, (void *)&address, sizeof address) ? -1 : fd;
  if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4)) return -1;
  return fd;
}

static void echo(int fd) {
  char bytes[65536];
  ssize_t n;
  while ((n = read(fd, bytes, sizeof bytes)) > 0) {
    for (ssize_t at = 0; at < n;) {
      ssize_t written = write(fd, bytes + at, n - at);
      if (written <= 0) return;
      at += written;
    }
  }
  close(fd);
}

/*
 * Connects to host port 1024, and then echoes what one host connection to port 1025 sends, until the host
 * ends the first: a reset loses what is still on its way.
 */
static void step_vsock(void) {
  int listener = vsock(-1u, 1025, 1);
  int control = vsock(2, 1024, 0);
  if (listener < 0 || control < 0) return report("vsock", strerror(errno));
  dprintf(control, "ready\n");
  echo(accept(listener, NULL, NULL));
  char end;
  read(control, &end, 1);
  report("vsock", "done");
}

/* Mounts the file system "share", copies its file "in" to "out", and makes a directory. */
static void step_fs(void) {
  mkdir("/mnt", 0755);
  if (mount("share", "/mnt", "virtiofs", 0, NULL)) return report("fs", strerror(errno));
  static char bytes[1 << 20];
  int in = open("/mnt/in", O_RDONLY), out = open("/mnt/out", O_CREAT | O_WRONLY, 0600);
  if (in < 0 || out < 0) return report("fs", strerror(errno));
  struct timespec start, end;
  clock_gettime(CLOCK_MONOTONIC, &start);
  long total = 0;
  ssize_t n;
  while ((n = read(in, bytes, sizeof bytes)) > 0) total += write(out, bytes, n);
  if (n < 0 || mkdir("/mnt/made", 0700) || close(out)) return report("fs", strerror(errno));
  clock_gettime(CLOCK_MONOTONIC, &end);
  long ms = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
  umount("/mnt");
  char text[64];
  snprintf(text, sizeof text, "copied %ld bytes in %ld ms", total, ms);
  report("fs", text);
}

/* Prints how each of the two disks starts, and whether it can be written. */
static void step_disks(void) {
  for (const char *path = "/dev/vda"; path; path = path[7] == 'a' ? "/dev/vdb" : NULL) {
    char first[17] = {0}, text[64];
    int fd = open(path, O_RDWR);
    if (fd < 0 || read(fd, first, 16) != 16) return report("disk", strerror(errno));
    int written = pwrite(fd, "changed", 7, 512) == 7 && fsync(fd) == 0;
    snprintf(text, sizeof text, "%s %s %s", path, first, written ? "writable" : "read-only");
    report("disk", text);
  }
}

int main(void) {
  static char line[4096];
  mkdir("/proc", 0755), mkdir("/dev", 0755);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("dev", "/dev", "devtmpfs", 0, NULL);
  FILE *commandLine = fopen("/proc/cmdline", "r"), *uptime = fopen("/proc/uptime", "r");
  char up[16] = "";
  if (uptime) fscanf(uptime, "%15s", up);
  report("up", up);
  if (commandLine) fgets(line, sizeof line, commandLine);
  char *steps = strstr(line, "steps=");
  if (steps) {
    steps[strcspn(steps, " \n")] = 0;
    for (char *step = strtok(steps + 6, ","); step; step = strtok(NULL, ",")) {
      if (!strcmp(step, "vsock")) step_vsock();
      if (!strcmp(step, "fs")) step_fs();
      if (!strcmp(step, "disks")) step_disks();
      if (!strcmp(step, "hang")) pause();
      if (!strcmp(step, "flood")) for (int i = 0; i < 1000; i++) report("flood", "0123456789abcdef0123456789abcdef");
      if (!strcmp(step, "panic")) return 1;
    }
  }
  reboot(RB_AUTOBOOT);
  return 1;
}
