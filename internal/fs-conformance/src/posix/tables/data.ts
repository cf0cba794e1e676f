/** read(2), write(2), truncate(2), lseek(2), fallocate(2), copy_file_range(2), mmap(2). */
export const truncate = `
# truncate cuts a file off and extends it with zeros
write f hello
truncate f 2
cat f -> he
truncate f 5
cat f -> he%00%00%00
stat f size -> 5
truncate f 0
cat f -> ''

# truncate extends over any size of hole
write f hello
truncate f 123456789
stat f size -> 123456789
open 0 f O_RDWR
pread 0 4 123456785 -> %00%00%00%00
pread 0 6 0 -> hello%00
truncate f 0x7fffffffff
stat f size -> 549755813887

# truncate changes mtime and ctime
write f hello
track 0 f
tick
truncate f 3
changed 0 f -> mtime,ctime

# truncate to the same size changes mtime and ctime
write f hello
track 0 f
tick
truncate f 5
changed 0 f -> mtime,ctime

#[kernel] ftruncate changes an open file
write f hello
open 0 f O_RDWR
track 0 f
tick
truncate @0 3
changed 0 f -> mtime,ctime
stat f size -> 3
pread 0 10 0 -> hel

# truncate says EISDIR for a directory
mkdir d
truncate d 0 -> EISDIR

# truncate says EINVAL for a <fifo|socket>
make $ n
truncate n 0 -> EINVAL

#[kernel] truncate says EINVAL for sizes below zero
write f x
truncate f -1 -> EINVAL
open 0 f O_RDWR
truncate @0 -1 -> EINVAL

# truncate says ENOENT for a missing name, ENOTDIR for a <regular|fifo|socket> in the path
truncate n 0 -> ENOENT
make $ f
truncate f/n 0 -> ENOTDIR
truncate (n)*256 0 -> ENAMETOOLONG

#[kernel] truncate needs write permission, ftruncate a descriptor for writing
write f x
chmod f 0444
bob truncate f 0 -> EACCES
bob open 0 f O_RDONLY
bob truncate @0 0 -> EINVAL
open 1 f O_RDWR
bob truncate @1 0
stat f size -> 0

#[kernel] truncate says ETXTBSY for no script, since only its interpreter runs
write s #!/bin/sh%0aexit%200%0a
chmod s 0755
exec ./s -> 0
truncate s 0
`;

export const data = `
# pread and pwrite take any offset, and leave holes
open 0 f O_RDWR|O_CREAT
pwrite 0 end 10000
stat f size -> 10003
pread 0 3 10000 -> end
pread 0 10 10001 -> nd
pread 0 10 10003 -> ''
pread 0 10 99999 -> ''
pread 0 3 5000 -> %00%00%00
pwrite 0 start 0
pread 0 6 0 -> start%00

# large writes and reads come back unchanged
open 0 f O_RDWR|O_CREAT
pwrite 0 #1000000:42 12345
stat f size -> 1012345
pread 0 100 1012300 -> #1000000:42[999955..1000000]
pread 0 500000 20000 -> #1000000:42[7655..507655]

#[kernel] read and write move the offset
open 0 f O_RDWR|O_CREAT
append 0 hello
lseek 0 0 SEEK_CUR -> 5
lseek 0 1 SEEK_SET -> 1
read 0 2 -> el
lseek 0 -1 SEEK_END -> 4
read 0 9 -> o
read 0 9 -> ''
lseek 0 -9 SEEK_SET -> EINVAL

# a write changes mtime and ctime, also one that changes no byte
write f hello
open 0 f O_RDWR
track 0 f
tick
pwrite 0 hello 0
fsync 0
changed 0 f -> mtime,ctime

# a write of nothing changes no time
write f hello
open 0 f O_RDWR
track 0 f
tick
pwrite 0 '' 0 -> 0
changed 0 f -> none

#[kernel] two opens see each other's writes at once
write f hello
open 0 f O_RDWR
open 1 f O_RDONLY
pwrite 0 J 0
pread 1 5 0 -> Jello
truncate @0 2
pread 1 5 0 -> Je
in 1 cat f -> Je

#[kernel] a shared mapping and the file are one
write f #8192:3
open 0 f O_RDWR
mmap 0 0 PROT_READ|PROT_WRITE MAP_SHARED 0 8192
mread 0 4 0 -> #8192:3[0..4]
pwrite 0 hello 4090
mread 0 5 4090 -> hello
mwrite 0 world 100
pread 0 5 100 -> world
msync 0
in 1 open 1 f O_RDONLY
in 1 pread 1 5 100 -> world
munmap 0

#[kernel] a private mapping keeps its changes to itself
write f hello
open 0 f O_RDWR
mmap 0 0 PROT_READ|PROT_WRITE MAP_PRIVATE 0 4096
mwrite 0 J 0
mread 0 5 0 -> Jello
cat f -> hello

#[kernel] a mapping outlives the descriptor and the name
write f hello
open 0 f O_RDWR
mmap 0 0 PROT_READ|PROT_WRITE MAP_SHARED 0 4096
close 0
unlink f
mwrite 0 J 0
mread 0 5 0 -> Jello

#[kernel] past the end of the file a mapping faults; within the last page it is zeros
write f hello
open 0 f O_RDWR
mmap 0 0 PROT_READ MAP_SHARED 0 12288
mread 0 6 0 -> hello%00
mread 0 1 4096 -> SIGBUS
truncate f 5000
mread 0 1 4096 -> %00

#[kernel] a mapping for writing needs a descriptor for writing
write f hello
open 0 f O_RDONLY
mmap 0 0 PROT_READ|PROT_WRITE MAP_SHARED 0 4096 -> EACCES
mmap 0 0 PROT_READ|PROT_WRITE MAP_PRIVATE 0 4096

# fsync and fdatasync are taken
write f hello
open 0 f O_RDWR
pwrite 0 J 0
fsync 0
fdatasync 0

#[kernel] directories are synced as well
mkdir d
open 0 d O_RDONLY|O_DIRECTORY
fsync 0
syncfs 0
`;

export const fallocate = `
# fallocate extends a file, and with FALLOC_FL_KEEP_SIZE it does not
write f hello
open 0 f O_RDWR
fallocate 0 0 0 1000
stat f size -> 1000
pread 0 7 0 -> hello%00%00
fallocate 0 FALLOC_FL_KEEP_SIZE 0 5000
stat f size -> 1000
posix_fallocate 0 2000 1000
stat f size -> 3000

# fallocate changes mtime and ctime when the size grows
write f hello
open 0 f O_RDWR
track 0 f
tick
fallocate 0 0 0 1000
changed 0 f -> mtime,ctime

# FALLOC_FL_PUNCH_HOLE makes zeros and keeps the size
write f #20000:9
open 0 f O_RDWR
fallocate 0 FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 100 10000
stat f size -> 20000
pread 0 2 98 -> #20000:9[98..100]
pread 0 4 10100 -> #20000:9[10100..10104]
pread 0 8 4096 -> %00%00%00%00%00%00%00%00
fallocate 0 FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 15000 999999
stat f size -> 20000
pread 0 4 15000 -> %00%00%00%00

#[kernel] FALLOC_FL_PUNCH_HOLE goes with FALLOC_FL_KEEP_SIZE only
write f hello
open 0 f O_RDWR
fallocate 0 FALLOC_FL_PUNCH_HOLE 0 5 -> EOPNOTSUPP

#[kernel] fallocate says EINVAL for lengths that are not above zero and offsets below it
write f hello
open 0 f O_RDWR
fallocate 0 0 0 0 -> EINVAL
fallocate 0 0 0 -1 -> EINVAL
fallocate 0 0 -1 1 -> EINVAL

#[kernel] fallocate says EBADF for a descriptor for reading, ENODEV for a directory
write f hello
open 0 f O_RDONLY
fallocate 0 0 0 1 -> EBADF

#[kernel] fallocate says EFBIG beyond what sizes can be
write f hello
open 0 f O_RDWR
fallocate 0 0 0x7ffffffffffffff0 0x100 -> EFBIG

#[zero-range] FALLOC_FL_ZERO_RANGE makes zeros, and extends unless told to keep the size
write f #9000:2
open 0 f O_RDWR
fallocate 0 FALLOC_FL_ZERO_RANGE|FALLOC_FL_KEEP_SIZE 4096 100000
stat f size -> 9000
pread 0 4 4096 -> %00%00%00%00
fallocate 0 FALLOC_FL_ZERO_RANGE 8000 4000
stat f size -> 12000

#[collapse] FALLOC_FL_COLLAPSE_RANGE takes a range out, FALLOC_FL_INSERT_RANGE puts one in
open 0 f O_RDWR|O_CREAT
pwrite 0 first 0
pwrite 0 second 4096
pwrite 0 third 8192
fallocate 0 FALLOC_FL_COLLAPSE_RANGE 4096 4096
stat f size -> 4101
pread 0 5 4096 -> third
fallocate 0 FALLOC_FL_INSERT_RANGE 4096 4096
stat f size -> 8197
pread 0 5 8192 -> third
pread 0 2 4096 -> %00%00
`;

export const seek = `
# SEEK_DATA and SEEK_HOLE find data and holes
open 0 f O_RDWR|O_CREAT
truncate f 1048576
pwrite 0 x 524288
fsync 0
lseek 0 0 SEEK_DATA -> 524288
lseek 0 0 SEEK_HOLE -> 0
lseek 0 524288 SEEK_DATA -> 524288
lseek 0 1048575 SEEK_HOLE -> 1048575

# a file without holes has one at its end
write f hello
open 0 f O_RDWR
lseek 0 0 SEEK_HOLE -> 5
lseek 0 2 SEEK_DATA -> 2

# SEEK_DATA and SEEK_HOLE say ENXIO past the end
write f hello
open 0 f O_RDWR
lseek 0 5 SEEK_DATA -> ENXIO
lseek 0 5 SEEK_HOLE -> ENXIO
truncate f 100000
lseek 0 100000 SEEK_HOLE -> ENXIO

# a file that is all hole has no data
open 0 f O_RDWR|O_CREAT
truncate f 1048576
lseek 0 0 SEEK_DATA -> ENXIO
lseek 0 0 SEEK_HOLE -> 0
`;

export const copy = `
#[kernel] copy_file_range copies between files
write a #100000:5
open 0 a O_RDONLY
open 1 b O_RDWR|O_CREAT
copy 0 1000 1 0 50000 -> 50000
stat b size -> 50000
pread 1 50000 0 -> #100000:5[1000..51000]
copy 0 99990 1 60000 100 -> 10
stat b size -> 60010
copy 0 200000 1 0 100 -> 0

#[kernel] copy_file_range copies within a file, not onto itself
write a hello
open 0 a O_RDWR
copy 0 0 0 5 5 -> 5
cat a -> hellohello
copy 0 0 0 2 5 -> EINVAL

#[kernel] copy_file_range needs one descriptor for reading and one for writing
write a hello
write b world
open 0 a O_WRONLY
open 1 b O_RDWR
copy 0 0 1 0 5 -> EBADF
open 0 a O_RDONLY
copy 1 0 0 0 5 -> EBADF
mkdir d
open 2 d O_RDONLY|O_DIRECTORY
copy 2 0 1 0 5 -> EISDIR

#[kernel] copy_file_range changes the times of the target, and takes its set-id bits from others
write a hello
write b world
chmod b 06777
open 0 a O_RDONLY
bob open 1 b O_RDWR
track 0 b
tick
bob copy 0 0 1 0 5 -> 5
changed 0 b -> mtime,ctime
stat b mode -> 0777
cat b -> hello
`;
