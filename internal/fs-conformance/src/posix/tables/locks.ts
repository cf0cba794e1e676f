/** flock(2), the record locks of fcntl(2). */
export const locks = `
#[kernel] record locks of two processes exclude each other, range by range
write f hello
open 0 f O_RDWR
in 1 open 1 f O_RDWR
lock 0 F_WRLCK 0 10
in 1 lock 1 F_WRLCK 5 1 -> EAGAIN
in 1 lock 1 F_RDLCK 9 5 -> EAGAIN
in 1 lock 1 F_WRLCK 10 5
in 1 getlk 1 F_WRLCK 0 100 -> write 0 10
getlk 0 F_RDLCK 0 100 -> write 10 5
lock 0 F_UNLCK 0 10
in 1 lock 1 F_WRLCK 0 10

#[kernel] locks for reading are shared
write f hello
open 0 f O_RDWR
in 1 open 1 f O_RDWR
lock 0 F_RDLCK 0 0
in 1 lock 1 F_RDLCK 0 0
in 1 lock 1 F_WRLCK 0 0 -> EAGAIN
in 1 getlk 1 F_WRLCK 0 0 -> read 0 0

#[kernel] a process's record locks go with any of its descriptors
write f hello
open 0 f O_RDWR
lock 0 F_WRLCK 0 0
open 1 f O_RDWR
in 1 open 2 f O_RDWR
in 1 lock 2 F_WRLCK 0 0 -> EAGAIN
close 1
in 1 lock 2 F_WRLCK 0 0

#[kernel] locks of open files belong to the open, not the process
write f hello
open 0 f O_RDWR
open 1 f O_RDWR
ofdlock 0 F_WRLCK 0 10
ofdlock 1 F_WRLCK 5 10 -> EAGAIN
close 0
ofdlock 1 F_WRLCK 5 10

#[kernel] flock excludes between opens
write f hello
open 0 f O_RDWR
open 1 f O_RDWR
flock 0 LOCK_EX
flock 1 LOCK_SH -> EAGAIN
flock 0 LOCK_SH
flock 1 LOCK_SH
flock 1 LOCK_EX -> EAGAIN
flock 0 LOCK_UN
flock 1 LOCK_EX
close 1
flock 0 LOCK_EX

#[kernel] a lock needs a descriptor that could do what it protects
write f hello
open 0 f O_RDONLY
lock 0 F_WRLCK 0 0 -> EBADF
lock 0 F_RDLCK 0 0
open 1 f O_WRONLY
lock 1 F_RDLCK 0 0 -> EBADF

#[kernel] locks go when their process ends
write f hello
open 0 f O_RDWR
in 1 open 1 f O_RDWR
in 1 lock 1 F_WRLCK 0 0
in 1 close 1
lock 0 F_WRLCK 0 0
`;
