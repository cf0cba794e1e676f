/** rename(2), renameat2(2). */
export const rename = `
# rename moves a <regular|fifo|socket|symlink|directory>, which stays the same inode
make $ a
mkdir d
track 0 a
rename a d/b
lstat a -> ENOENT
lstat d/b type -> $

#[devices] rename moves a <char|block>
make $ a
rename a b
lstat b type -> $

# rename keeps all but the name
write f hello
chmod f 04751
chown f 1001 1002
chmod f 04751
utimens f 1.5 2.5
setxattr f user.k v
rename f g
stat g mode,uid,gid,size,nlink,atime,mtime -> 4751 1001 1002 5 1 1.000000005 2.000000005
getxattr g user.k -> v

# rename changes the times of both parents and the ctime of the <regular|directory|symlink|fifo>
mkdir p
mkdir q
make $ p/a
track 0 p
track 1 q
track 2 p/a
tick
rename p/a q/a
changed 0 p -> mtime,ctime
changed 1 q -> mtime,ctime
changed 2 q/a -> ctime

# rename replaces a <regular|fifo|socket|symlink> by a <regular|fifo|socket|symlink>
make $1 a
make $2 b
rename b a
lstat a type,nlink -> $2 1
lstat b -> ENOENT

# rename over one of several links leaves the others
write f old
link f g
write n new
track 0 g
tick
rename n f
stat g nlink -> 1
changed 0 g -> ctime
cat g -> old
cat f -> new

# rename replaces an empty directory by a directory
mkdir a
mkdir a/in
mkdir b
rename a b
readdir b -> in/
stat . nlink -> 3

# rename says ENOTEMPTY for a target directory with a <regular|directory|symlink> in it
mkdir a
mkdir b
make $ b/n
rename a b -> ENOTEMPTY

# rename says ENOTDIR for a directory over a <regular|fifo|socket|symlink>, EISDIR the other way round
mkdir d
make $ n
rename d n -> ENOTDIR
rename n d -> EISDIR

# rename does nothing between two links of one <regular|fifo|socket|symlink>
make $ a
link a b
rename a b
lstat a nlink -> 2
lstat b nlink -> 2
rename a a
lstat a type -> $

# rename says EINVAL for a directory into itself
mkdir a
mkdir a/b
rename a a/c -> EINVAL
rename a a/b -> EINVAL
rename a a/b/c -> EINVAL

# rename says ENOTEMPTY for a directory over one above it
mkdir a
mkdir a/b
mkdir a/b/c
rename a/b/c a -> ENOTEMPTY
rename a/b a -> ENOTEMPTY

# rename says ENOENT when the source or a directory of a path is missing
rename a b -> ENOENT
write f x
rename f no/f -> ENOENT
rename no/f g -> ENOENT

# rename says ENOTDIR when a <regular|fifo|socket> is in a path
make $ n
write f x
rename f n/f -> ENOTDIR
rename n/f g -> ENOTDIR

# rename takes names of 255 bytes and no longer
write a x
rename a (n)*255
rename (n)*255 b
rename b (n)*256 -> ENAMETOOLONG
rename (n)*256 b -> ENAMETOOLONG

#[kernel] rename takes neither dot nor dot dot
mkdir d
rename d/. e -> EBUSY
rename d/.. e -> EBUSY
mkdir e
rename e d/. -> EBUSY

#[kernel] rename says ELOOP for a loop of links in a path
symlink b a
symlink a b
write f x
rename f a/f -> ELOOP
rename a/f g -> ELOOP

#[kernel] rename with a slash behind the name is for directories
write f x
rename f/ g -> ENOTDIR
rename f g/ -> ENOTDIR
mkdir d
rename d/ e/
stat e type -> directory

#[kernel] rename needs write and search permission in both directories
mkdir p
mkdir q
mkdir q/ours
chown p 1001 1001
chown q/ours 1001 1001
alice write p/f x
alice rename p/f q/f -> EACCES
alice rename p/f q/ours/f
bob rename q/ours/f q/ours/g -> EACCES
chmod q/ours 0555
alice rename q/ours/f p/f -> EACCES
chmod q/ours 0644
alice rename q/ours/f p/f -> EACCES

#[kernel] a directory that moves to another parent must be writable, since its dot dot changes
chmod . 0777
mkdir p 0777
alice mkdir d 0755
chmod p 0777
alice rename d p/d
alice chmod p/d 0555
alice rename p/d d -> EACCES
alice rename p/d p/e

#[kernel] in a sticky directory only owners move a <regular|fifo|symlink|directory> out
mkdir s
chown s 1001 1001
chmod s 01777
mkdir o
chmod o 0777
make $ s/a
make $ s/b
lchown s/a 1002 1002
lchown s/b 1002 1002
carol rename s/a o/a -> EPERM
bob rename s/a o/a
carol rename s/b s/c -> EPERM

#[kernel] in a sticky directory only owners replace a <regular|fifo|symlink>
mkdir s
chown s 1001 1001
chmod s 01777
make $ s/a
lchown s/a 1002 1002
chmod . 0777
carol write mine x
carol rename mine s/a -> EPERM
bob rename s/a s/b
bob write yours x
bob rename yours s/b

# RENAME_NOREPLACE says EEXIST for an existing <regular|fifo|socket|symlink|directory>
write a x
make $ b
rename a b RENAME_NOREPLACE -> EEXIST
rename a c RENAME_NOREPLACE
lstat c type -> regular

# RENAME_EXCHANGE swaps a <regular|directory|symlink|fifo> and a <regular|directory|symlink|fifo>
mkdir p
mkdir q
make $1 p/a
make $2 q/b
rename p/a q/b RENAME_EXCHANGE
lstat p/a type -> $2
lstat q/b type -> $1

# RENAME_EXCHANGE keeps the links of parents right
mkdir p
mkdir p/d
write f x
rename p/d f RENAME_EXCHANGE
stat p nlink -> 2
stat . nlink -> 4
stat f type -> directory
cat p/d -> x

# RENAME_EXCHANGE changes parents' times and both ctimes
mkdir p
mkdir q
write p/a x
write q/b y
track 0 p
track 1 q
track 2 p/a
track 3 q/b
tick
rename p/a q/b RENAME_EXCHANGE
changed 0 p -> mtime,ctime
changed 1 q -> mtime,ctime
changed 2 q/b -> ctime
changed 3 p/a -> ctime

# RENAME_EXCHANGE says ENOENT when one is missing, EINVAL for a directory and what is in it
write a x
rename a b RENAME_EXCHANGE -> ENOENT
rename b a RENAME_EXCHANGE -> ENOENT
mkdir d
write d/f x
rename d d/f RENAME_EXCHANGE -> EINVAL
rename d/f d RENAME_EXCHANGE -> EINVAL

# renameat2 says EINVAL for RENAME_EXCHANGE with RENAME_NOREPLACE
write a x
write b y
rename a b RENAME_EXCHANGE|RENAME_NOREPLACE -> EINVAL

# renameat2 says EINVAL for unknown flags
write a x
rename a b 0x100 -> EINVAL

#[whiteout] RENAME_WHITEOUT leaves a device 0:0 behind
write a x
rename a b RENAME_WHITEOUT
lstat a type,rdev,mode -> char 0:0 0000
cat b -> x

#[kernel] open files and directories survive a rename and a replacement
write f hello
open 0 f O_RDWR
rename f g
pread 0 5 0 -> hello
write h other
rename h g
stat @0 nlink -> 0
pread 0 5 0 -> hello
cat g -> other
mkdir d
open 1 d O_RDONLY|O_DIRECTORY
rename d e
write @1/x 1 -> 1
readdir e -> x
`;
