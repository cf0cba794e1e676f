/*
 * The part of macOS's C library that this package calls, on Linux for x86-64: its symbols, flags, structures and
 * errnos over Linux's system calls. So the declarations of src/platform/darwin-*.ts are called, not only read. It shows
 * that they fit Apple's headers as they are written down here; it is no macOS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/stat.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PATH_SIZE 1024 /* PATH_MAX of macOS */

static const struct { int linux_number, darwin_number; } errnos[] = {
    {11, 35}, {35, 11}, {36, 63}, {37, 77}, {38, 78}, {39, 66}, {40, 62}, {61, 93},
    {75, 84}, {95, 102}, {116, 70}, {122, 69}, {88, 38}, {97, 47}, {98, 48},
};

/* The result of a raw system call, as the C library gives it. */
static long done(long result) {
  if (result != -1) return result;
  for (size_t i = 0; i < sizeof errnos / sizeof *errnos; i++) {
    if (errnos[i].linux_number != errno) continue;
    errno = errnos[i].darwin_number;
    break;
  }
  return -1;
}

static long refuse(int darwin_errno) {
  errno = darwin_errno;
  return -1;
}

static int directory_of(int fd) { return fd == -2 ? -100 : fd; }

/* Flags of the "at" calls. */
static int at_flags(int darwin) {
  return ((darwin & 0x20) ? 0x100 : 0) | ((darwin & 0x80) ? 0x200 : 0) | ((darwin & 0x10) ? 0x200 : 0);
}

static int open_flags(int darwin) {
  static const int flags[][2] = {
      {0x4, 04000},          {0x8, 02000},       {0x80, 04010000},   {0x100, 0400000},
      {0x200, 0100},         {0x400, 01000},     {0x800, 0200},      {0x20000, 0400},
      {0x100000, 0200000},   {0x400000, 010000}, {0x1000000, 02000000},
      {0x20000000, 0400000},
  };
  int result = darwin & 3;
  for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
    if (darwin & flags[i][0]) result |= flags[i][1];
  /* O_EXEC: nothing but looking names up below it. */
  return (darwin & 0x40000000) ? result | 010000000 : result;
}

int darwin_openat(int dir, const char *path, int flags, ...) __asm__("openat");
int darwin_openat(int dir, const char *path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  int mode = va_arg(more, int);
  va_end(more);
  /* No inode paths: as on a volume that has none. */
  if (strncmp(path, "/.vol/", 6) == 0) return refuse(2);
  return done(syscall(SYS_openat, directory_of(dir), path, open_flags(flags), mode));
}

int darwin_close(int fd) __asm__("close");
int darwin_close(int fd) { return done(syscall(SYS_close, fd)); }

struct darwin_flock { int64_t start, length; int32_t pid; int16_t type, whence; };
struct linux_flock { int16_t type, whence; int64_t start, length; int32_t pid; };
struct fstore { uint32_t flags; int posmode; int64_t offset, length, allocated; };
struct fpunchhole { uint32_t flags, reserved; int64_t offset, length; };

static int lock(int fd, int command, struct darwin_flock *lock) {
  struct linux_flock own = {lock->type == 1 ? 0 : lock->type == 2 ? 2 : 1, lock->whence, lock->start,
                            lock->length, lock->pid};
  long result = done(syscall(SYS_fcntl, fd, command == 90 ? 37 : 36, &own));
  *lock = (struct darwin_flock){own.start, own.length, own.pid,
                                own.type == 0 ? 1 : own.type == 2 ? 2 : 3, own.whence};
  return result;
}

int darwin_fcntl(int fd, int command, ...) __asm__("fcntl");
int darwin_fcntl(int fd, int command, ...) {
  va_list more;
  va_start(more, command);
  void *argument = va_arg(more, void *);
  va_end(more);
  char path[64];
  long length;
  switch (command) {
    case 3: return syscall(SYS_fcntl, fd, 3, 0) & 02000 ? 8 : 0; /* F_GETFL */
    case 4: return done(syscall(SYS_fcntl, fd, 4, (long)argument & 8 ? 02000L : 0L)); /* F_SETFL */
    case 42: { /* F_PREALLOCATE, all of it, behind the end */
      struct fstore *store = argument;
      if (store->flags != 4 || store->posmode != 3) return refuse(22);
      struct statx now;
      if (syscall(SYS_statx, fd, "", 0x1000, STATX_SIZE, &now) < 0) return done(-1);
      return done(syscall(SYS_fallocate, fd, 1, now.stx_size, store->length));
    }
    case 50: /* F_GETPATH */
      snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
      length = syscall(SYS_readlinkat, -100, path, argument, PATH_SIZE - 1);
      if (length >= 0) ((char *)argument)[length] = 0;
      return length < 0 ? done(-1) : 0;
    case 51: return done(syscall(SYS_fsync, fd)); /* F_FULLFSYNC */
    case 67: return done(syscall(SYS_fcntl, fd, 1030, (long)argument)); /* F_DUPFD_CLOEXEC */
    case 90:
    case 92: return lock(fd, command, argument); /* F_OFD_SETLK, F_OFD_GETLK */
    case 99: { /* F_PUNCHHOLE */
      struct fpunchhole *hole = argument;
      if (hole->offset % 4096 != 0 || hole->length % 4096 != 0) return refuse(22);
      return done(syscall(SYS_fallocate, fd, 3, hole->offset, hole->length));
    }
  }
  return refuse(22);
}

struct darwin_timespec { int64_t seconds, nanoseconds; };
struct darwin_stat {
  int32_t dev; uint16_t mode, nlink; uint64_t ino; uint32_t uid, gid; int32_t rdev;
  struct darwin_timespec atime, mtime, ctime, birthtime;
  int64_t size, blocks; int32_t blksize; uint32_t flags, gen; int32_t lspare; int64_t qspare[2];
};

#define TIME(from) {from.tv_sec, from.tv_nsec}
static long stat_into(struct darwin_stat *out, int dir, const char *path, int flags) {
  struct statx s;
  if (syscall(SYS_statx, dir, path, flags, STATX_BASIC_STATS | STATX_BTIME, &s) < 0) return done(-1);
  *out = (struct darwin_stat){
      .dev = s.stx_dev_major << 24 | s.stx_dev_minor, .mode = s.stx_mode, .nlink = s.stx_nlink,
      .ino = s.stx_ino, .uid = s.stx_uid, .gid = s.stx_gid,
      .rdev = s.stx_rdev_major << 24 | s.stx_rdev_minor, .atime = TIME(s.stx_atime),
      .mtime = TIME(s.stx_mtime), .ctime = TIME(s.stx_ctime), .birthtime = TIME(s.stx_btime),
      .size = s.stx_size, .blocks = s.stx_blocks, .blksize = s.stx_blksize};
  return 0;
}

int darwin_fstat(int fd, struct darwin_stat *out) __asm__("fstat$INODE64");
int darwin_fstat(int fd, struct darwin_stat *out) { return stat_into(out, fd, "", 0x1000); }

int darwin_fstatat(int dir, const char *path, struct darwin_stat *out, int flags) __asm__("fstatat$INODE64");
int darwin_fstatat(int dir, const char *path, struct darwin_stat *out, int flags) {
  return stat_into(out, directory_of(dir), path, at_flags(flags));
}

struct darwin_statfs {
  uint32_t bsize; int32_t iosize; uint64_t blocks, bfree, bavail, files, ffree; int32_t fsid[2];
  uint32_t owner, type, flags, subtype; char typename[16], on[1024], from[1024]; uint32_t more[8];
};

int darwin_fstatfs(int fd, struct darwin_statfs *out) __asm__("fstatfs$INODE64");
int darwin_fstatfs(int fd, struct darwin_statfs *out) {
  struct statfs s;
  if (syscall(SYS_fstatfs, fd, &s) < 0) return done(-1);
  *out = (struct darwin_statfs){.bsize = s.f_bsize, .iosize = 1 << 20, .blocks = s.f_blocks,
                                .bfree = s.f_bfree, .bavail = s.f_bavail, .files = s.f_files,
                                .ffree = s.f_ffree, .typename = "apfs"};
  return 0;
}

struct linux_dirent { uint64_t ino; int64_t off; uint16_t reclen; uint8_t type; char name[]; };
struct darwin_dirent { uint64_t ino, seekoff; uint16_t reclen, namlen; uint8_t type; char name[]; };

/* A record takes two bytes more than Linux's, so half of the room is surely enough. */
ssize_t darwin_getdirentries(int fd, char *out, size_t size, int64_t *base) __asm__("__getdirentries64");
ssize_t darwin_getdirentries(int fd, char *out, size_t size, int64_t *base) {
  static char entries[32768];
  long length = done(syscall(SYS_getdents64, fd, entries, size / 2 < sizeof entries ? size / 2 : sizeof entries));
  size_t written = 0;
  for (long at = 0; at < length;) {
    struct linux_dirent *from = (void *)(entries + at);
    struct darwin_dirent *to = (void *)(out + written);
    size_t name = strlen(from->name);
    to->ino = from->ino;
    to->seekoff = 0;
    to->namlen = name;
    to->type = from->type;
    to->reclen = (21 + name + 1 + 3) & ~3ul;
    memcpy(to->name, from->name, name + 1);
    written += to->reclen;
    at += from->reclen;
  }
  *base = 0;
  return length < 0 ? -1 : (ssize_t)written;
}

off_t darwin_lseek(int fd, off_t offset, int whence) __asm__("lseek");
off_t darwin_lseek(int fd, off_t offset, int whence) {
  return done(syscall(SYS_lseek, fd, offset, whence == 3 ? 4 : whence == 4 ? 3 : whence));
}

#define CALL(type, name, parameters, call)            \
  type darwin_##name parameters __asm__(#name);       \
  type darwin_##name parameters { return done(call); }

CALL(int, faccessat, (int d, const char *p, int mode, int f), syscall(SYS_faccessat2, directory_of(d), p, mode, at_flags(f)))
CALL(ssize_t, pread, (int fd, void *b, size_t n, off_t o), syscall(SYS_pread64, fd, b, n, o))
CALL(ssize_t, pwrite, (int fd, const void *b, size_t n, off_t o), syscall(SYS_pwrite64, fd, b, n, o))
CALL(ssize_t, preadv, (int fd, const void *v, int n, off_t o), syscall(SYS_preadv, fd, v, (long)n, o, 0))
CALL(ssize_t, pwritev, (int fd, const void *v, int n, off_t o), syscall(SYS_pwritev, fd, v, (long)n, o, 0))
CALL(int, mkdirat, (int d, const char *p, uint16_t mode), syscall(SYS_mkdirat, d, p, mode))
CALL(int, mkfifoat, (int d, const char *p, uint16_t mode), syscall(SYS_mknodat, d, p, mode | 0010000, 0))
CALL(int, symlinkat, (const char *t, int d, const char *p), syscall(SYS_symlinkat, t, d, p))
CALL(int, linkat, (int d, const char *p, int e, const char *q, int f), syscall(SYS_linkat, d, p, e, q, f))
CALL(int, unlinkat, (int d, const char *p, int f), syscall(SYS_unlinkat, d, p, at_flags(f)))
CALL(int, renameatx_np, (int d, const char *p, int e, const char *q, unsigned f),
     syscall(SYS_renameat2, d, p, e, q, ((f & 4) ? 1 : 0) | ((f & 2) ? 2 : 0)))
CALL(ssize_t, readlinkat, (int d, const char *p, void *b, size_t n), syscall(SYS_readlinkat, d, p, b, n))
CALL(int, fchmod, (int fd, uint16_t mode), syscall(SYS_fchmod, fd, mode))
CALL(int, fchmodat, (int d, const char *p, uint16_t mode, int f), syscall(452, d, p, mode, at_flags(f)))
CALL(int, fchown, (int fd, unsigned u, unsigned g), syscall(SYS_fchown, fd, u, g))
CALL(int, fchownat, (int d, const char *p, unsigned u, unsigned g, int f), syscall(SYS_fchownat, d, p, u, g, at_flags(f)))
CALL(int, ftruncate, (int fd, off_t size), syscall(SYS_ftruncate, fd, size))
CALL(int, fsync, (int fd), syscall(SYS_fsync, fd))
CALL(int, fsync_volume_np, (int fd, int flags), flags == 3 ? syscall(SYS_syncfs, fd) : refuse(22))
CALL(int, socket, (int domain, int type, int protocol), syscall(SYS_socket, domain, type, protocol))
CALL(int, madvise, (void *a, size_t n, int advice), syscall(SYS_madvise, a, n, advice == 5 ? 8 : advice))
CALL(int, sched_yield, (void), syscall(SYS_sched_yield))
CALL(int, flock, (int fd, int operation), syscall(SYS_flock, fd, operation))
CALL(int, getrlimit, (int resource, void *out), resource == 8 ? syscall(SYS_prlimit64, 0, 7, 0, out) : refuse(22))

static long set_times(int dir, const char *path, const struct darwin_timespec *times, int flags) {
  struct darwin_timespec own[2] = {times[0], times[1]};
  for (int i = 0; i < 2; i++) {
    if (own[i].nanoseconds == -1) own[i].nanoseconds = 0x3fffffff;
    if (own[i].nanoseconds == -2) own[i].nanoseconds = 0x3ffffffe;
  }
  return syscall(SYS_utimensat, dir, path, own, flags);
}
CALL(int, futimens, (int fd, const struct darwin_timespec *t), set_times(fd, 0, t, 0))
CALL(int, utimensat, (int d, const char *p, const struct darwin_timespec *t, int f), set_times(d, p, t, at_flags(f)))

static int xattr_flags(int darwin) { return ((darwin & 2) ? 1 : 0) | ((darwin & 4) ? 2 : 0); }
CALL(int, fsetxattr, (int fd, const char *name, const void *v, size_t n, uint32_t position, int options),
     position ? refuse(22) : syscall(SYS_fsetxattr, fd, name, v, n, xattr_flags(options)))
CALL(ssize_t, fgetxattr, (int fd, const char *name, void *v, size_t n, uint32_t position, int options),
     position || options ? refuse(22) : syscall(SYS_fgetxattr, fd, name, v, n))
CALL(ssize_t, flistxattr, (int fd, void *v, size_t n, int options), options ? refuse(22) : syscall(SYS_flistxattr, fd, v, n))
CALL(int, fremovexattr, (int fd, const char *name, int options), options ? refuse(22) : syscall(SYS_fremovexattr, fd, name))

/* Of the one thread that there is here. */
static int before = -1;
int darwin_fchdir(int fd) __asm__("pthread_fchdir_np");
int darwin_fchdir(int fd) {
  if (fd >= 0 && before < 0) before = syscall(SYS_openat, -100, ".", 010000000 | 02000000, 0);
  long result = syscall(SYS_fchdir, fd >= 0 ? fd : before);
  if (fd < 0) syscall(SYS_close, before), before = -1;
  return done(result);
}

struct darwin_address { uint8_t length, family; char path[104]; };
struct linux_address { uint16_t family; char path[108]; };
int darwin_bind(int fd, const struct darwin_address *address, uint32_t length) __asm__("bind");
int darwin_bind(int fd, const struct darwin_address *address, uint32_t length) {
  if (length != sizeof *address || address->length != length || address->family != 1) return refuse(22);
  struct linux_address own = {.family = 1};
  memcpy(own.path, address->path, sizeof address->path);
  return done(syscall(SYS_bind, fd, &own, sizeof own));
}
