/** unlink(2). */
export const unlink = `
# unlink removes a <regular|fifo|socket|symlink>
make $ n
unlink n
lstat n -> ENOENT
unlink n -> ENOENT
tree -> tree

#[devices] unlink removes a <char|block>
make $ n
unlink n
lstat n -> ENOENT

# unlink changes the times of the parent
mkdir p
write p/f x
track 0 p
tick
unlink p/f
changed 0 p -> mtime,ctime

# unlink of one of several links takes a link and changes the ctime of the <regular|fifo|socket>
make $ a
link a b
track 0 a
tick
unlink b
stat a nlink -> 1
changed 0 a -> ctime

# unlink removes a link, not what it leads to
write f hello
symlink f l
unlink l
cat f -> hello

# unlink says EISDIR for a directory
mkdir d
unlink d -> EISDIR

# unlink says ENOTDIR when a <regular|fifo|socket> is in the path
make $ n
unlink n/x -> ENOTDIR

# unlink takes names of 255 bytes and no longer
write (n)*255 x
unlink (n)*255
unlink (n)*256 -> ENAMETOOLONG

#[kernel] unlink follows links in the path, and says ELOOP for a loop
mkdir d
write d/f x
symlink d l
unlink l/f
symlink b a
symlink a b
unlink a/f -> ELOOP

#[kernel] unlink needs permission to search the path and to write the directory
mkdir p 0755
chown p 1001 1001
alice write p/f x
bob unlink p/f -> EACCES
chmod p 0555
alice unlink p/f -> EACCES
chmod p 0644
alice unlink p/f -> EACCES
chmod p 0300
alice unlink p/f

#[kernel] in a sticky directory the owners of the file and of the directory remove a <regular|fifo|socket|symlink>
mkdir p
chown p 1001 1001
chmod p 01777
make $ p/a
make $ p/b
lchown p/a 1002 1002
lchown p/b 1002 1002
carol unlink p/a -> EPERM
alice unlink p/a
bob unlink p/b

#[kernel] an open file lives on without a name
write f hello
open 0 f O_RDWR
unlink f
stat @0 nlink,size -> 0 5
pread 0 5 0 -> hello
pwrite 0 world 5
truncate @0 7
pread 0 100 0 -> hellowo
chmod @0 0600
chown @0 1001 1002
utimens @0 1.0 2.0
stat @0 mode,uid,gid,atime,mtime -> 0600 1001 1002 1.000000000 2.000000000
setxattr @0 user.k v
getxattr @0 user.k -> v
fsync 0
close 0

#[kernel] a new file may take the name of an open, unlinked one
write f old
open 0 f O_RDWR
unlink f
write f new!
stat f size,nlink -> 4 1
stat @0 size,nlink -> 3 0
same @0 f -> no
pread 0 10 0 -> old
cat f -> new!

#[kernel] unlink takes no slash behind a name
write f x
unlink f/ -> ENOTDIR
symlink f l
unlink l/ -> ENOTDIR
mkdir d
unlink d/ -> EISDIR
`;
