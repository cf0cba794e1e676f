/** mkdir(2), rmdir(2). */
export const mkdir = `
# mkdir makes an empty directory with two links
mkdir d 0755
lstat d type,mode,nlink,uid,gid -> directory 0755 2 0 0
readdir d -> empty

# mkdir takes the umask from the mode <0777 022 0755|0777 077 0700|0151 070 0101|0345 0501 0244|0777 0777 0000|0770 0 0770>
umask $2
mkdir d $1
stat d mode -> $3

# a directory in a directory adds a link to it, and takes it away
mkdir d
mkdir d/e
mkdir d/f
stat d nlink -> 4
rmdir d/e
stat d nlink -> 3
rename d/f f
stat d nlink -> 2

# mkdir updates the times of the parent
mkdir d
track 0 d
tick
mkdir d/e
changed 0 d -> mtime,ctime

# mkdir gives the directory the caller's user and group
chmod . 0777
alice mkdir d
stat d uid,gid -> 1001 1001

# mkdir takes the group of a set-group-id parent, and the bit
mkdir p
chown p 0 1002
chmod p 02777
alice mkdir p/d 0755
stat p/d uid,gid,mode -> 1001 1002 2755

# mkdir says EEXIST for an existing <regular|directory|fifo|socket|symlink>
make $ n
mkdir n -> EEXIST

#[devices] mkdir says EEXIST for an existing <char|block>
make $ n
mkdir n -> EEXIST

# mkdir and rmdir say ENOTDIR when a <regular|fifo|socket> is in the path
make $ n
mkdir n/d -> ENOTDIR
rmdir n/d -> ENOTDIR

# mkdir and rmdir say ENOENT when a directory of the path is missing
mkdir a/b -> ENOENT
rmdir a/b -> ENOENT
rmdir a -> ENOENT

# names of directories have at most 255 bytes
mkdir (n)*255
stat (n)*255 type -> directory
rmdir (n)*255
mkdir (n)*256 -> ENAMETOOLONG
rmdir (n)*256 -> ENAMETOOLONG

#[kernel] paths to mkdir have at most 4095 bytes
mkdir (./)*2047n -> 0
mkdir (./)*2048 -> ENAMETOOLONG
rmdir (./)*2048 -> ENAMETOOLONG

#[kernel] mkdir says ELOOP for a loop of links in the path
symlink b a
symlink a b
mkdir a/d -> ELOOP
rmdir b/d -> ELOOP

#[kernel] mkdir needs permission to search the path and to write the directory
mkdir p
chown p 1001 1001
mkdir p/q
chown p/q 1001 1001
alice mkdir p/q/d
chmod p 0644
alice mkdir p/q/e -> EACCES
alice rmdir p/q/d -> EACCES
chmod p 0755
chmod p/q 0555
alice mkdir p/q/e -> EACCES
alice rmdir p/q/d -> EACCES
bob mkdir p/q/e -> EACCES
chmod p/q 0755
alice rmdir p/q/d

# rmdir removes an empty directory, and changes the times of the parent
mkdir p
mkdir p/d
track 0 p
tick
rmdir p/d
lstat p/d -> ENOENT
changed 0 p -> mtime,ctime

# rmdir says ENOTEMPTY for a directory with a <regular|directory|fifo|symlink> in it
mkdir d
make $ d/n
rmdir d -> ENOTEMPTY

# rmdir says ENOTDIR for a <regular|fifo|socket|symlink>
make $ n
rmdir n -> ENOTDIR

#[kernel] rmdir takes no dot and no dot dot
mkdir d
mkdir d/e
rmdir d/e/. -> EINVAL
rmdir d/e/.. -> ENOTEMPTY

#[kernel] a directory that is removed while open is empty, without links, and takes nothing new
mkdir d
open 0 d O_RDONLY|O_DIRECTORY
rmdir d
stat @0 nlink,type -> 0 directory
mkdir @0/e -> ENOENT
open 1 @0/f O_RDWR|O_CREAT -> ENOENT
symlink x @0/s -> ENOENT
readdir @0/ -> empty

#[kernel] in a sticky directory only owners remove directories
mkdir p
chown p 1001 1001
chmod p 01777
bob mkdir p/b
carol rmdir p/b -> EPERM
alice rmdir p/b
carol mkdir p/c
carol rmdir p/c

#[kernel] the root of the file system cannot be made or removed
mkdir . -> EEXIST
mkdir ./ -> EEXIST
mkdir / -> EEXIST
`;
