/** utimensat(2), and the times that reading leaves. */
export const utimens = `
# utimensat sets times to the nanosecond of a <regular|directory|fifo|socket>
make $ n
utimens n 1000000000.123456789 1100000000.987654321
lstat n atime,mtime -> 1000000000.123456789 1100000000.987654321

# lutimens sets the times of a link, utimens those of its target
write f x
symlink f l
utimens f 1.1 1.2
lutimens l 3.3 4.4
lstat l mtime -> 4.000000004
stat f mtime -> 1.000000002
utimens l 5.5 6.6
stat f atime,mtime -> 5.000000005 6.000000006
lstat l mtime -> 4.000000004

# utimensat leaves out what it is told to
write f x
utimens f 1.0 2.0
utimens f omit 3.0
stat f atime,mtime -> 1.000000000 3.000000000
utimens f 4.0 omit
stat f atime,mtime -> 4.000000000 3.000000000
utimens f omit omit
stat f atime,mtime -> 4.000000000 3.000000000
utimens f now omit
stat f atime,mtime -> now 3.000000000
utimens f 1.0 now
stat f atime,mtime -> 1.000000000 now

# times reach from before 1970 to after 2038
write f x
utimens f -1000.5 4294967296.7
stat f atime,mtime -> -1000.000000005 4294967296.000000007

# utimensat changes the ctime to the present
write f x
track 0 f
tick
utimens f 1.0 2.0
stat f ctime -> now
changed 0 f -> earlier-atime,earlier-mtime,ctime

#[kernel] futimens sets the times of an open file
write f x
open 0 f O_RDONLY
utimens @0 7.0 8.0
stat f atime,mtime -> 7.000000000 8.000000000

#[kernel] only the owner sets a time; who may write sets the present
write f x
chown f 1001 1001
chmod f 0666
alice utimens f 1.0 2.0
bob utimens f 1.0 2.0 -> EPERM
bob utimens f now 2.0 -> EPERM
bob utimens f now now
stat f mtime -> now
chmod f 0444
bob utimens f now now -> EACCES
bob utimens f omit omit

# utimensat says ENOENT for a missing name, ENOTDIR for a <regular|fifo|socket> in the path
utimens n 1.0 1.0 -> ENOENT
make $ f
utimens f/n 1.0 1.0 -> ENOTDIR

#[kernel] utimensat needs permission to search the path
mkdir p
chown p 1001 1001
alice write p/f x
chmod p 0644
alice utimens p/f now now -> EACCES

# a write after utimensat brings the present back
write f x
utimens f 1.0 2.0
open 0 f O_WRONLY
pwrite 0 y 0
stat f atime,mtime -> 1.000000000 now

# a new file and directory have present times
write f x
stat f atime,mtime,ctime -> now now now
mkdir d
stat d atime,mtime,ctime -> now now now
`;
