import { expect, test } from "vitest";
import * as constants from "./darwin-constants.js";

/** Lines of the headers that come with macOS 14, without their comments. */
const headers = `
#define O_NONBLOCK      0x00000004
#define O_APPEND        0x00000008
#define O_SYNC          0x0080
#define O_NOFOLLOW      0x00000100
#define O_CREAT         0x00000200
#define O_TRUNC         0x00000400
#define O_EXCL          0x00000800
#define O_EVTONLY       0x00008000
#define O_NOCTTY        0x00020000
#define O_DIRECTORY     0x00100000
#define O_DSYNC         0x400000
#define O_CLOEXEC       0x01000000
#define O_NOFOLLOW_ANY  0x20000000
#define O_EXEC          0x40000000
#define O_SEARCH        0x40100000
#define AT_FDCWD        -2
#define AT_EACCESS              0x0010
#define AT_SYMLINK_NOFOLLOW     0x0020
#define AT_REMOVEDIR            0x0080
#define F_GETFL         3
#define F_SETFL         4
#define F_PREALLOCATE   42
#define F_GETPATH       50
#define F_FULLFSYNC     51
#define F_DUPFD_CLOEXEC         67
#define F_OFD_SETLK             90
#define F_OFD_GETLK             92
#define F_PUNCHHOLE     99
#define F_ALLOCATEALL    0x00000004
#define F_PEOFPOSMODE 3
#define F_RDLCK         1
#define F_UNLCK         2
#define F_WRLCK         3
#define LOCK_SH         0x01
#define LOCK_EX         0x02
#define LOCK_NB         0x04
#define LOCK_UN         0x08
#define RENAME_SWAP     0x00000002
#define RENAME_EXCL     0x00000004
#define XATTR_CREATE    0x0002
#define XATTR_REPLACE   0x0004
#define SEEK_HOLE       3
#define SEEK_DATA       4
#define UTIME_NOW       -1
#define UTIME_OMIT      -2
#define SYNC_VOLUME_FULLSYNC    0x01
#define SYNC_VOLUME_WAIT        0x02
#define MADV_FREE       5
#define RLIMIT_NOFILE   8
#define AF_UNIX         1
#define SOCK_STREAM     1
`;

test("each number is that of Apple's headers", () => {
  const defined = [...headers.matchAll(/#define (\w+)\s+(\S+)/g)];
  expect({ ...constants }).toEqual(
    Object.fromEntries(defined.map(([, name, value]) => [name, Number(value)])),
  );
});
