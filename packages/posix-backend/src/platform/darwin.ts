/**
 * The system calls of macOS in the form of those of Linux: same names, same arguments, results in Linux's
 * layouts and negated Linux errnos. Not run so far: there was no macOS to run it on. What can be tested
 * elsewhere is in `darwin-abi.ts` and `darwin-errno.ts`.
 *
 * There is no O_PATH: a handle is opened for events only (O_EVTONLY), which takes no permission to read, with
 * O_SYMLINK, so that it may be a symbolic link. There is no /proc: a handle is reopened as
 * `/.vol/DEVICE/INODE`, the kernel's own path of an inode, which no rename can turn into another's. What macOS has
 * no call for answers ENOSYS or EOPNOTSUPP, and the client goes without.
 */
export * from "./darwin-data.js";
export * from "./darwin-names.js";
