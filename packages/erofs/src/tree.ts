/** What every kind of file has. */
export interface ErofsAttributes {
  /** Permission, set-id and sticky bits, `0` to `0o7777`; the type is not part of it. */
  readonly mode: number;
  /** Owner, `0` to `2 ** 32 - 2`; the kernel takes the last number for "none". */
  readonly uid: number;
  /** Group, `0` to `2 ** 32 - 2`. */
  readonly gid: number;
  /** Modification time, whole seconds since 1970, negative before. EROFS stores no other time. */
  readonly mtime: number;
  /** Nanoseconds on top of `mtime`, `0` to `999_999_999`; 0 when absent. */
  readonly mtimeNsec?: number;
  /**
   * Extended attributes by full name: `user.*`, `trusted.*`, `security.*`, `system.posix_acl_access`,
   * `system.posix_acl_default`. The suffix of a name has at most 255 bytes, a value at most 65535.
   */
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
}

/** A regular file; its content is given to the writer separately. */
export interface ErofsFile extends ErofsAttributes {
  readonly type: "file";
  /** Bytes, a safe integer. */
  readonly size: number;
}

/** A directory: its entries by name, without `.` and `..`. */
export interface ErofsDirectory extends ErofsAttributes {
  readonly type: "directory";
  /** Names have 1 to 255 bytes and no `/` or NUL; see {@link decodeName} for names that are not UTF-8. */
  readonly entries: ReadonlyMap<string, ErofsNode>;
}

/** A symbolic link. */
export interface ErofsSymlink extends ErofsAttributes {
  readonly type: "symlink";
  /** 1 to 4095 bytes. */
  readonly target: string;
}

/** A device node. */
export interface ErofsDevice extends ErofsAttributes {
  readonly type: "character-device" | "block-device";
  /** `0` to `4095`. */
  readonly major: number;
  /** `0` to `2 ** 20 - 1`. */
  readonly minor: number;
}

/** A named pipe or the name of a socket. */
export interface ErofsSpecial extends ErofsAttributes {
  readonly type: "fifo" | "socket";
}

/**
 * One file of a tree to write. The same object under several names is one inode with as many links;
 * directories may appear once only.
 */
export type ErofsNode = ErofsFile | ErofsDirectory | ErofsSymlink | ErofsDevice | ErofsSpecial;

/** The kinds of file there are. */
export type ErofsNodeType = ErofsNode["type"];
