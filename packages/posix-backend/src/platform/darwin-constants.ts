/** Numbers of macOS's headers, under their names there. Those of Linux have the same names: import all as one. */

// sys/fcntl.h: open(2)
export const O_NONBLOCK = 0x4;
export const O_APPEND = 0x8;
export const O_SYNC = 0x80;
export const O_NOFOLLOW = 0x100;
export const O_CREAT = 0x200;
export const O_TRUNC = 0x400;
export const O_EXCL = 0x800;
export const O_EVTONLY = 0x8000;
export const O_NOCTTY = 0x2_0000;
export const O_DIRECTORY = 0x10_0000;
export const O_DSYNC = 0x40_0000;
export const O_CLOEXEC = 0x100_0000;
export const O_NOFOLLOW_ANY = 0x2000_0000;
export const O_EXEC = 0x4000_0000;
/** Names can be looked up below it, and it takes no permission to read. */
export const O_SEARCH = O_EXEC | O_DIRECTORY;

// sys/fcntl.h: calls that end with "at"
export const AT_FDCWD = -2;
export const AT_EACCESS = 0x10;
export const AT_SYMLINK_NOFOLLOW = 0x20;
export const AT_REMOVEDIR = 0x80;

// sys/fcntl.h: fcntl(2) and flock(2)
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_PREALLOCATE = 42;
export const F_GETPATH = 50;
export const F_FULLFSYNC = 51;
export const F_DUPFD_CLOEXEC = 67;
export const F_OFD_SETLK = 90;
export const F_OFD_GETLK = 92;
export const F_PUNCHHOLE = 99;
export const F_ALLOCATEALL = 4;
export const F_PEOFPOSMODE = 3;
export const F_RDLCK = 1;
export const F_UNLCK = 2;
export const F_WRLCK = 3;
export const LOCK_SH = 1;
export const LOCK_EX = 2;
export const LOCK_NB = 4;
export const LOCK_UN = 8;

// sys/stdio.h, sys/xattr.h, sys/unistd.h, sys/stat.h
export const RENAME_SWAP = 2;
export const RENAME_EXCL = 4;
export const XATTR_CREATE = 2;
export const XATTR_REPLACE = 4;
export const SEEK_HOLE = 3;
export const SEEK_DATA = 4;
export const UTIME_NOW = -1;
export const UTIME_OMIT = -2;

// unistd.h, sys/mman.h, sys/resource.h, sys/socket.h
export const SYNC_VOLUME_FULLSYNC = 1;
export const SYNC_VOLUME_WAIT = 2;
export const MADV_FREE = 5;
export const RLIMIT_NOFILE = 8;
export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
