/** link(2), symlink(2), readlink(2). */
export const link = `
# link gives a <regular|fifo|socket|symlink> another name
make $ a
track 0 a
link a b
same a b -> yes
lstat a type,nlink -> $ 2
lstat b type,nlink -> $ 2
unlink a
lstat b nlink -> 1

#[devices] link gives a <char|block> another name
make $ a
link a b
same a b -> yes
lstat b type,nlink -> $ 2

# all links show the same attributes and content
write a hello
link a b
link a c
stat c nlink -> 3
chmod a 0640
chown b 1001 1002
setxattr c user.k v
truncate a 3
stat b mode,uid,gid,size -> 0640 1001 1002 3
stat c mode,uid,gid,size -> 0640 1001 1002 3
cat c -> hel
getxattr a user.k -> v
utimens c 1.0 2.0
stat a mtime -> 2.000000000

# link changes the ctime of the file and the times of the parent
mkdir p
write a x
track 0 a
track 1 p
tick
link a p/b
changed 0 a -> ctime
changed 1 p -> mtime,ctime

# link says EEXIST for an existing <regular|directory|fifo|socket|symlink>
write a x
make $ b
link a b -> EEXIST
stat a nlink -> 1

# link says EPERM for a directory
mkdir d
link d e -> EPERM

# link says ENOENT when the file or a directory of a path is missing
link a b -> ENOENT
write a x
link a no/b -> ENOENT
link no/a b -> ENOENT

# link says ENOTDIR when a <regular|fifo|socket> is in a path
make $ n
write a x
link n/a b -> ENOTDIR
link a n/b -> ENOTDIR

# link takes names of 255 bytes and no longer
write a x
link a (n)*255
link a (n)*256 -> ENAMETOOLONG

# linkat follows a link only with AT_SYMLINK_FOLLOW
write f x
symlink f l
link l a
lstat a type -> symlink
link l b AT_SYMLINK_FOLLOW
lstat b type -> regular
stat f nlink -> 2

#[kernel] link says ELOOP for a loop of links in a path
symlink b a
symlink a b
write f x
link f a/f -> ELOOP
link a/f g -> ELOOP

#[kernel] link needs permission to write the new directory and to search both
mkdir p
mkdir q
chown p 1001 1001
alice write p/f x
alice link p/f q/f -> EACCES
alice link p/f p/g
chmod p 0555
alice link p/f p/h -> EACCES
chmod p 0644
alice link p/f q/h -> EACCES

#[kernel] a file without links can not get one by its /proc name
write f x
open 0 f O_RDWR
unlink f
linkfd 0 g -> ENOENT

#[kernel] the /proc name of an open file can be linked
write f x
open 0 f O_RDWR
linkfd 0 g
same f g -> yes
`;

export const symlink = `
# symlink makes a link with the length of its target as size
symlink target l
lstat l type,mode,nlink,size,uid,gid -> symlink 0777 1 6 0 0
readlink l -> target
readdir . -> l@

# a target is any text: <a/b/../c|/nowhere|.|..|//x//|(t)*255/x>
symlink $ l
readlink l -> $

# symlink takes targets of 4095 bytes
symlink (t)*4095 l -> 0
lstat l size -> 4095
readlink l -> (t)*4095

#[kernel] symlink says ENAMETOOLONG for a target of 4096 bytes, ENOENT for none
symlink (t)*4096 l -> ENAMETOOLONG
symlink '' l -> ENOENT

# symlink says EEXIST for an existing <regular|directory|fifo|socket|symlink>
make $ n
symlink x n -> EEXIST

# symlink says ENOTDIR when a <regular|fifo|socket> is in the path
make $ n
symlink x n/l -> ENOTDIR

# symlink says ENOENT when a directory of the path is missing
symlink x no/l -> ENOENT

# symlink takes names of 255 bytes and no longer
symlink x (n)*255
readlink (n)*255 -> x
symlink x (n)*256 -> ENAMETOOLONG

# symlink changes the times of the parent
mkdir p
track 0 p
tick
symlink x p/l
changed 0 p -> mtime,ctime

# symlink gives the link the caller's user and group
chmod . 0777
alice symlink x l
lstat l uid,gid -> 1001 1001

#[kernel] symlink needs permission to write the directory and search the path
mkdir p
chown p 1001 1001
bob symlink x p/l -> EACCES
chmod p 0444
alice symlink x p/l -> EACCES
chmod p 0555
alice symlink x p/l -> EACCES

#[kernel] programs walk through links
mkdir d
write d/f hello
symlink d l
symlink l/f m
symlink d/../m n
cat n -> hello
stat n type -> regular
stat l/f size -> 5

#[kernel] a loop of links is ELOOP
symlink a a
stat a -> ELOOP
open 0 a O_RDONLY -> ELOOP
symlink c b
symlink b c
chmod b 0644 -> ELOOP
truncate b 0 -> ELOOP

#[kernel] more than forty links in a path are ELOOP
mkdir d
symlink . d/l
stat d/(l/)*40 type -> directory
stat d/(l/)*41 -> ELOOP

#[kernel] a link to nowhere is ENOENT
symlink nowhere l
stat l -> ENOENT
open 0 l O_RDONLY -> ENOENT
lstat l type -> symlink

#[kernel] O_CREAT makes what a link leads to
symlink f l
write l hello
cat f -> hello
lstat l type -> symlink
`;

export const readlink = `
# readlink says EINVAL for a <regular|directory|fifo|socket>
make $ n
readlink n -> EINVAL

#[kernel] readlink cuts off what does not fit, without a word
symlink target l
readlink l 3 -> tar

# readlink says ENOENT for a missing name, ENOTDIR for a file in the path
readlink n -> ENOENT
write f x
readlink f/n -> ENOTDIR
readlink (n)*256 -> ENAMETOOLONG

#[kernel] readlink needs permission to search the path
mkdir p
chown p 1001 1001
symlink x p/l
chmod p 0644
alice readlink p/l -> EACCES
chmod p 0711
bob readlink p/l -> x
`;
