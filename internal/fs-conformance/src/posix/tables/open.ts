/** open(2), close(2). */
export const open = `
# O_CREAT makes a file with the mode less the umask <0777 022 0755|0666 077 0600|0644 0 0644|0151 070 0101|04755 022 4755>
umask $2
open 0 f O_RDWR|O_CREAT $1
stat f type,mode,nlink,size,uid,gid -> regular $3 1 0 0 0

# O_CREAT opens for writing whatever the mode of the new file says
open 0 f O_RDWR|O_CREAT 0
append 0 hello
pread 0 5 0 -> hello
stat f mode -> 0000

# O_CREAT of an existing file leaves its mode and content
write f hello
chmod f 0600
open 0 f O_RDWR|O_CREAT 0777
stat f mode,size -> 0600 5

# O_CREAT changes the times of the parent; of an existing file it does not
mkdir p
track 0 p
tick
open 0 p/f O_RDWR|O_CREAT 0644
changed 0 p -> mtime,ctime
track 0 p
tick
open 1 p/f O_RDWR|O_CREAT 0644
changed 0 p -> none

# O_CREAT|O_EXCL says EEXIST for an existing <regular|directory|fifo|socket|symlink>
make $ n
open 0 n O_RDWR|O_CREAT|O_EXCL 0644 -> EEXIST

# O_CREAT gives the caller's user and group, or that of a set-group-id parent
mkdir p
chmod p 0777
alice open 0 p/f O_RDWR|O_CREAT 0644
stat p/f uid,gid -> 1001 1001
chown p 0 1002
chmod p 02777
alice open 0 p/g O_RDWR|O_CREAT 0644
stat p/g uid,gid -> 1001 1002

# O_TRUNC empties a file and changes its times
write f hello
track 0 f
tick
open 0 f O_WRONLY|O_TRUNC
stat f size -> 0
changed 0 f -> mtime,ctime

# O_TRUNC of an empty file changes its times as well
write f ''
track 0 f
tick
open 0 f O_WRONLY|O_TRUNC
changed 0 f -> mtime,ctime

# a new file keeps its set-id bits, although O_TRUNC takes them from an old one
chmod . 0777
umask 0
alice open 0 f O_RDWR|O_CREAT|O_TRUNC 06755
stat f mode -> 6755

# O_APPEND writes at the end, wherever that is
write f hello
open 0 f O_RDWR|O_APPEND
append 0 1
truncate f 10
append 0 2
stat f size -> 11
pread 0 20 0 -> hello1%00%00%00%002

#[kernel] two writers with O_APPEND do not overwrite each other
open 0 f O_WRONLY|O_CREAT|O_APPEND 0644
open 1 f O_WRONLY|O_APPEND
in 1 append 1 a
append 0 b
in 1 append 1 c
append 0 d
cat f -> abcd

#[kernel] a descriptor for reading does not write, and the reverse
write f hello
open 0 f O_RDONLY
append 0 x -> EBADF
truncate @0 0 -> EINVAL
open 1 f O_WRONLY
pread 1 5 0 -> EBADF

# open says ENOENT for a missing name, ENOTDIR for a <regular|fifo|socket> in the path
open 0 n O_RDONLY -> ENOENT
open 0 no/n O_RDWR|O_CREAT -> ENOENT
make $ f
open 0 f/n O_RDONLY -> ENOTDIR
open 0 f/n O_RDWR|O_CREAT -> ENOTDIR

# open takes names of 255 bytes and no longer
open 0 (n)*255 O_RDWR|O_CREAT
open 0 (n)*256 O_RDWR|O_CREAT -> ENAMETOOLONG

#[kernel] open says ELOOP for a link with O_NOFOLLOW, and for a loop of links
write f x
symlink f l
open 0 l O_RDONLY|O_NOFOLLOW -> ELOOP
open 0 l O_RDONLY
symlink b a
symlink a b
open 0 a O_RDONLY -> ELOOP
open 0 a O_RDWR|O_CREAT -> ELOOP

#[kernel] O_DIRECTORY is for directories
write f x
open 0 f O_RDONLY|O_DIRECTORY -> ENOTDIR
mkdir d
open 0 d O_RDONLY|O_DIRECTORY

#[kernel] a directory is not opened for writing
mkdir d
open 0 d O_WRONLY -> EISDIR
open 0 d O_RDWR -> EISDIR
open 0 d O_RDONLY|O_TRUNC -> EISDIR
open 0 d O_RDONLY|O_CREAT -> EISDIR
open 0 d O_RDONLY
read 0 10 -> EISDIR

#[kernel] open needs the permission of what it will do: <0400 O_RDONLY|0200 O_WRONLY|0600 O_RDWR>
write f x
chown f 1001 1001
chmod f $1
alice open 0 f $2
bob open 0 f $2 -> EACCES
chmod f 0
alice open 0 f $2 -> EACCES

#[kernel] open for reading and writing needs both permissions
write f x
chmod f 0444
bob open 0 f O_RDWR -> EACCES
bob open 0 f O_WRONLY -> EACCES
bob open 0 f O_RDONLY|O_TRUNC -> EACCES
bob open 0 f O_RDONLY
chmod f 0222
bob open 0 f O_RDWR -> EACCES
bob open 0 f O_RDONLY -> EACCES
bob open 0 f O_WRONLY

#[kernel] O_CREAT needs permission to write the directory
mkdir p
chown p 1001 1001
bob open 0 p/f O_RDWR|O_CREAT -> EACCES
chmod p 0555
alice open 0 p/f O_RDWR|O_CREAT -> EACCES
chmod p 0644
alice open 0 p/f O_RDWR|O_CREAT -> EACCES

#[kernel] permissions are checked at open, not later
write f hello
chown f 1001 1001
alice open 0 f O_RDWR
chmod f 0
chown f 0 0
alice pread 0 5 0 -> hello
alice pwrite 0 H 0 -> 1

#[kernel] O_NOATIME is for the owner
write f x
chown f 1001 1001
alice open 0 f O_RDONLY|O_NOATIME
chmod f 0666
bob open 0 f O_RDONLY|O_NOATIME -> EPERM

#[kernel] a socket is not opened
make socket s
open 0 s O_RDONLY -> ENXIO
open 0 s O_RDWR -> ENXIO

#[kernel] a program that is open for writing does not start, and one that runs is not written
write s #!/bin/sh%0aexit%203%0a
chmod s 0755
exec ./s -> 3
open 0 s O_WRONLY
exec ./s -> ETXTBSY
close 0
exec ./s -> 3
chmod s 0644
exec ./s -> EACCES

#[kernel] O_PATH opens anything, and reads nothing
make fifo p
open 0 p O_PATH
stat @0 type -> fifo
pread 0 1 0 -> EBADF
chmod @0 0600 -> EBADF
write f hello
chmod f 0
alice open 1 f O_PATH
stat @1 size -> 5

#[tmpfile] O_TMPFILE makes a file without a name, which linkat names
mkdir d
open 0 d O_RDWR|O_TMPFILE 0640
stat @0 type,mode,nlink,size -> regular 0640 0 0
append 0 hello
readdir d -> empty
linkfd 0 d/f
cat d/f -> hello
stat d/f nlink,mode -> 1 0640

#[tmpfile] O_TMPFILE with O_EXCL can not be named
open 0 . O_RDWR|O_TMPFILE|O_EXCL 0640
linkfd 0 f -> ENOENT

#[tmpfile] O_TMPFILE is for writing, in directories, by those who may make files there
open 0 . O_RDONLY|O_TMPFILE 0640 -> EINVAL
write f x
open 0 f O_RDWR|O_TMPFILE 0640 -> ENOTDIR
alice open 0 . O_RDWR|O_TMPFILE 0640 -> EACCES

#[tmpfile] O_TMPFILE gives the caller's user and group, or that of a set-group-id directory
mkdir p
chown p 0 1002
chmod p 02777
alice open 0 p O_RDWR|O_TMPFILE 0644
stat @0 uid,gid,mode -> 1001 1002 0644


#[kernel] close says EBADF for what is not open
close 5 -> EBADF
open 0 . O_RDONLY
close 0
close 0 -> EBADF
`;
