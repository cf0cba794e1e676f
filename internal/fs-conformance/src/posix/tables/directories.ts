/** readdir(3), statvfs(3). */
export const readdir = `
# a directory lists each name once, with its type
write f x
mkdir d
symlink x l
make fifo p
make socket s
readdir . -> d/ f l@ p| s=

#[devices] a directory lists devices as such
make char c
make block b
readdir . -> b+ c-

# a directory with many names lists them all, and can be emptied while it is read
mkdir d
fill d 3000 -> 3000
sweep d -> 3000 0
rmdir d

# names may hold any byte but a slash and NUL
write %01%ff%c3%28 1
write caf%c3%a9 2
write a%20b%0a 3
cat %01%ff%c3%28 -> 1
cat caf%c3%a9 -> 2
cat a%20b%0a -> 3
unlink %01%ff%c3%28
lstat %01%ff%c3%28 -> ENOENT

# names differ by case
write a 1
write A 2
cat a -> 1
cat A -> 2

# readdir says ENOTDIR for a <regular|fifo|socket>, ENOENT for a missing name
make $ n
readdir n -> ENOTDIR
readdir no -> ENOENT

#[kernel] readdir needs read permission
mkdir d
chmod d 0711
alice readdir d -> EACCES
chmod d 0744
alice readdir d -> empty

#[kernel] statvfs tells of names up to 255 bytes and sane numbers
statvfs . -> 255 sane
`;
