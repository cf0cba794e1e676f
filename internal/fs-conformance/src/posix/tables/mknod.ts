/** mknod(2), mkfifo(3), bind(2) of a Unix socket. */
export const mknod = `
# mknod makes a <S_IFIFO fifo|S_IFSOCK socket|S_IFREG regular> with the mode less the umask
umask 027
mknod n $1|0777
lstat n type,mode,nlink,size,uid,gid -> $2 0750 1 0 0 0

# mknod keeps the set-id and sticky bits of a <S_IFIFO|S_IFREG>
umask 0
mknod n $|07755
lstat n mode -> 7755

#[devices] mknod makes a <S_IFCHR char|S_IFBLK block> device with its numbers
mknod n $1|0600 1 7
lstat n type,mode,rdev -> $2 0600 1:7
mknod m $1|0600 259 1048575
lstat m rdev -> 259:1048575

#[devices,kernel] mknod of a <S_IFCHR|S_IFBLK> needs privilege
chmod . 0777
alice mknod n $|0600 1 3 -> EPERM

# mknod without a type makes a regular file
mknod n 0640
lstat n type,mode -> regular 0640

#[kernel] mknod makes no directory and no link
mknod d S_IFDIR|0755 -> EPERM
mknod l S_IFLNK|0777 -> EINVAL

# mknod says EEXIST for an existing <regular|directory|fifo|socket|symlink>
make $ n
mknod n S_IFIFO|0644 -> EEXIST
mknod n S_IFREG|0644 -> EEXIST

# mknod says ENOTDIR when a <regular|fifo|socket> is in the path, ENOENT when a directory is missing
make $ n
mknod n/f S_IFIFO|0644 -> ENOTDIR
mknod no/f S_IFIFO|0644 -> ENOENT

# mknod takes names of 255 bytes and no longer
mknod (n)*255 S_IFIFO|0644
mknod (n)*256 S_IFIFO|0644 -> ENAMETOOLONG

# mknod changes the times of the parent
mkdir p
track 0 p
tick
mknod p/n S_IFIFO|0644
changed 0 p -> mtime,ctime

# mknod gives a <S_IFIFO|S_IFSOCK|S_IFREG> the caller's user and group, or that of a set-group-id parent
mkdir p
chmod p 0777
alice mknod p/a $|0644
lstat p/a uid,gid -> 1001 1001
chown p 0 1002
chmod p 02777
alice mknod p/b $|0644
lstat p/b uid,gid -> 1001 1002

#[kernel] mknod needs permission to write the directory and search the path
mkdir p
chown p 1001 1001
bob mknod p/n S_IFIFO|0644 -> EACCES
chmod p 0644
alice mknod p/n S_IFIFO|0644 -> EACCES
chmod p 0555
alice mknod p/n S_IFIFO|0644 -> EACCES

#[kernel] a FIFO carries data between processes
mknod p S_IFIFO|0644
open 0 p O_WRONLY -> ENXIO
open 0 p O_RDONLY
in 1 open 1 p O_WRONLY
in 1 append 1 hello
read 0 10 -> hello

#[kernel] bind makes a socket, once
bind s
lstat s type,mode -> socket 0755
bind s -> EADDRINUSE
open 0 s O_RDONLY -> ENXIO

#[kernel] the set-group-id bit of a new file is lost outside the group, if group members may execute it
mkdir p
chown p 0 1002
chmod p 02777
umask 0
alice mknod p/f S_IFREG|02755
stat p/f mode,gid -> 0755 1002
alice open 0 p/g O_RDWR|O_CREAT 02775
stat p/g mode,gid -> 0775 1002
alice open 0 p/h O_RDWR|O_CREAT 02745
stat p/h mode,gid -> 2745 1002
bob open 0 p/i O_RDWR|O_CREAT 02775
stat p/i mode,gid -> 2775 1002
`;
