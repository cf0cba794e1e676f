/** chmod(2), chown(2), access(2). */
export const chmod = `
# chmod sets the mode of a <regular|directory|fifo|socket> to <0000|0111|0400|0644|0777|1777|2755|4755|7777>
make $1 n
chmod n 0$2
lstat n type,mode -> $1 $2

#[devices] chmod sets the mode of a <char|block>
make $ n
chmod n 0620
lstat n type,mode -> $ 0620

# chmod changes the ctime of a <regular|directory|fifo|socket>, and no other time
make $ n
track 0 n
tick
chmod n 0600
changed 0 n -> ctime

# chmod follows a link
write f x
symlink f l
chmod l 0600
stat f mode -> 0600
lstat l mode -> 0777

#[kernel] fchmod sets the mode of an open file and directory
write f x
open 0 f O_RDONLY
chmod @0 0604
stat f mode -> 0604
mkdir d
open 1 d O_RDONLY|O_DIRECTORY
chmod @1 01711
stat d mode -> 1711

# chmod says ENOENT for a missing name, ENOTDIR for a <regular|fifo|socket> in the path
chmod n 0644 -> ENOENT
make $ f
chmod f/n 0644 -> ENOTDIR
chmod (n)*256 0644 -> ENAMETOOLONG

#[kernel] only the owner and root may chmod a <regular|directory|fifo|socket>
make $ n
lchown n 1001 1001
alice chmod n 0611
stat n mode -> 0611
bob chmod n 0622 -> EPERM
carol chmod n 0622 -> EPERM
chmod n 0633
stat n mode -> 0633

#[kernel] only the owner may fchmod, whoever opened it
write f x
chmod f 0666
chown f 1001 1001
bob open 0 f O_RDWR
bob chmod @0 0600 -> EPERM
alice chmod @0 0600
stat f mode -> 0600

#[kernel] chmod needs permission to search the path
mkdir p
chown p 1001 1001
alice write p/f x
chmod p 0644
alice chmod p/f 0600 -> EACCES
chmod p 0111
alice chmod p/f 0600

#[kernel] an owner outside the file's group can not set its set-group-id bit
write f x
chown f 1001 1002
alice chmod f 02755
stat f mode -> 0755
chown f 1003 1001
carol chmod f 02755
stat f mode -> 2755
mkdir d
chown d 1001 1002
alice chmod d 02755
stat d mode -> 0755

#[kernel] the sticky bit of a file is anybody's who owns it
write f x
chown f 1001 1001
alice chmod f 01644
stat f mode -> 1644

#[kernel] a write by somebody without privilege takes the set-id bits of a program away
write f hello
chmod f 0777
chown f 1001 1001
chmod f 06777
bob open 0 f O_RDWR
bob pwrite 0 x 0
stat f mode,size -> 0777 5

#[kernel] a write by root leaves the set-id bits
write f hello
chmod f 06777
open 0 f O_RDWR
pwrite 0 x 0
stat f mode -> 6777

#[kernel] truncate by somebody without privilege takes the set-id bits away
write f hello
chmod f 06777
bob truncate f 2
stat f mode,size -> 0777 2
chmod f 06777
bob open 0 f O_RDWR|O_TRUNC
stat f mode,size -> 0777 0

#[kernel,groups] without group execution the set-group-id bit survives a write by a member of the group
write f hello
chown f 1001 1001
chmod f 02666
carol open 0 f O_WRONLY
carol pwrite 0 x 0
stat f mode -> 2666
`;

export const chown = `
# chown sets the owner and group of a <regular|directory|fifo|socket>
make $ n
chown n 1001 1002
lstat n type,uid,gid -> $ 1001 1002
chown n -1 1003
lstat n uid,gid -> 1001 1003
chown n 1002 -1
lstat n uid,gid -> 1002 1003
chown n -1 -1
lstat n uid,gid -> 1002 1003
chown n 4294967294 65536
lstat n uid,gid -> 4294967294 65536

# lchown sets the owner of a link, chown that of its target
write f x
symlink f l
lchown l 1001 1002
lstat l uid,gid -> 1001 1002
stat f uid,gid -> 0 0
chown l 1003 1003
stat f uid,gid -> 1003 1003
lstat l uid,gid -> 1001 1002

# chown changes the ctime of a <regular|directory|fifo|socket|symlink>, and no other time
make $ n
track 0 n
tick
lchown n 1001 1002
changed 0 n -> ctime

# chown says ENOENT for a missing name, ENOTDIR for a <regular|fifo|socket> in the path
chown n 1 1 -> ENOENT
make $ f
chown f/n 1 1 -> ENOTDIR
chown (n)*256 1 1 -> ENAMETOOLONG

#[kernel] fchown sets the owner of an open file
write f x
open 0 f O_RDONLY
chown @0 1001 1002
stat f uid,gid -> 1001 1002

#[kernel] only root may give a <regular|directory|fifo|socket> away
make $ n
lchown n 1001 1001
alice chown n 1002 -1 -> EPERM
bob chown n 1002 1002 -> EPERM
alice chown n 1001 -1
lstat n uid,gid -> 1001 1001

#[kernel] an owner may give a <regular|directory|fifo> to a group that it is in
make $ n
lchown n 1003 1003
carol chown n -1 1001
stat n uid,gid -> 1003 1001
carol chown n 1003 1003
stat n gid -> 1003
carol chown n -1 1002 -> EPERM

#[kernel] chown needs permission to search the path
mkdir p
chown p 1001 1001
alice write p/f x
chmod p 0644
alice chown p/f -1 1001 -> EACCES

#[kernel] chown of a program by its owner takes the set-id bits away
write f x
chown f 1003 1003
chmod f 06755
carol chown f -1 1001
stat f mode,gid -> 0755 1001

#[kernel] chown of a program by root takes the set-id bits away, too
write f x
chmod f 06755
chown f 1001 1001
stat f mode -> 0755

#[kernel] chown leaves a set-group-id bit without group execution, and those of directories
write f x
chmod f 02644
chown f 1001 1001
stat f mode -> 2644
mkdir d
chmod d 06755
chown d 1001 1001
stat d mode -> 6755

# chown without ids changes no owner, but takes set-id bits away
write f x
chown f 1001 1002
chmod f 06755
chown f -1 -1
stat f uid,gid,mode -> 1001 1002 0755

#[kernel] chown without ids is for anybody where there are no set-id bits to take away
write f x
chown f 1001 1001
bob chown f -1 -1
chmod f 06755
bob chown f -1 -1 -> EPERM
stat f mode -> 6755
alice chown f -1 -1
stat f mode -> 0755
`;

export const access = `
#[kernel] the owner's bits count for the owner of a <regular|directory|fifo>, although others may more
make $ n
lchown n 1001 1001
chmod n 0077
alice access n R_OK -> EACCES
alice access n W_OK -> EACCES
alice access n X_OK -> EACCES
alice access n F_OK
bob access n R_OK|W_OK|X_OK

#[kernel] the group's bits count for members of the group
write f x
chown f 1002 1001
chmod f 0707
carol access f R_OK -> EACCES
chmod f 0050
carol access f R_OK|X_OK
carol access f W_OK -> EACCES
bob access f R_OK -> EACCES

#[kernel] root may all but run what nobody may run
write f x
chmod f 0000
access f R_OK|W_OK
access f X_OK -> EACCES
chmod f 0010
access f X_OK
mkdir d
chmod d 0
access d R_OK|W_OK|X_OK

#[kernel] a directory without search permission hides what is in it
mkdir d
write d/f x
chmod d 0644
alice stat d/f -> EACCES
alice access d/f F_OK -> EACCES
alice readdir d -> f
chmod d 0711
alice stat d/f size -> 1
alice readdir d -> EACCES
alice cat d/f -> x

#[kernel] the groups of a process count, not only its first
mkdir d
chown d 0 1001
chmod d 0770
carol write d/f x
stat d/f uid,gid -> 1003 1003
bob write d/g x -> EACCES
carol access d R_OK|W_OK|X_OK
bob access d R_OK -> EACCES
`;
