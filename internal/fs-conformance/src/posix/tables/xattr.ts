/** setxattr(2) and the like. */
export const xattr = `
# a <regular|directory> has extended attributes
make $ n
listxattr n -> none
getxattr n user.a -> ENODATA
setxattr n user.a one
setxattr n user.b two
listxattr n -> user.a user.b
getxattr n user.a -> one
setxattr n user.a three
getxattr n user.a -> three
removexattr n user.a
getxattr n user.a -> ENODATA
removexattr n user.a -> ENODATA
listxattr n -> user.b

# XATTR_CREATE says EEXIST, XATTR_REPLACE says ENODATA
write f x
setxattr f user.a one XATTR_REPLACE -> ENODATA
setxattr f user.a one XATTR_CREATE
setxattr f user.a two XATTR_CREATE -> EEXIST
setxattr f user.a two XATTR_REPLACE
getxattr f user.a -> two

# a value may be empty, and hold any byte
write f x
setxattr f user.e ''
getxattr f user.e -> ''
setxattr f user.r #40:9
getxattr f user.r 0 -> 40

# getxattr says ERANGE for a buffer that is too small, and the size for none
write f x
setxattr f user.a hello
getxattr f user.a 0 -> 5
getxattr f user.a 4 -> ERANGE
getxattr f user.a 5 -> hello

# setxattr changes the ctime
write f x
track 0 f
tick
setxattr f user.a 1
changed 0 f -> ctime
track 0 f
tick
removexattr f user.a
changed 0 f -> ctime

#[kernel] a <fifo|socket|symlink> has no user attributes
make $ n
setxattr n user.a 1 -> EPERM
getxattr n user.a -> ENODATA

#[kernel] user attributes need read and write permission
write f x
setxattr f user.a 1
chmod f 0644
bob setxattr f user.a 2 -> EACCES
bob getxattr f user.a -> 1
bob removexattr f user.a -> EACCES
chmod f 0600
bob getxattr f user.a -> EACCES

#[kernel] in a sticky directory's own attributes only the owner writes
mkdir d
chmod d 01777
bob setxattr d user.a 1 -> EPERM
chmod d 0777
bob setxattr d user.a 1

# extended attributes need a name behind the dot and a known namespace
write f x
setxattr f nonsense 1 -> EOPNOTSUPP
setxattr f user. 1 -> EINVAL

# extended attribute names have at most 255 bytes
write f x
setxattr f user.(n)*250 1
getxattr f user.(n)*250 -> 1

#[kernel] longer names of extended attributes are out of range
write f x
setxattr f user.(n)*251 1 -> ERANGE

#[trusted,kernel] trusted attributes are root's
write f x
setxattr f trusted.a 1
getxattr f trusted.a -> 1
chmod f 0666
bob getxattr f trusted.a -> ENODATA
bob setxattr f trusted.a 2 -> EPERM
`;
