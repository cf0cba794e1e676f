import { expect, test } from "vitest";
import { startExecutor } from "../executor.js";

/** What the file system to be mounted holds. */
const CONTENT = [
  "mkdir d",
  "mkdir d/e",
  "write f hello",
  "symlink f l",
  "make fifo p",
  "setxattr f user.a 1",
];

/** Commands for the read-only mount; without an answer they must succeed. */
const ROWS: readonly (readonly [command: string, answer?: string])[] = [
  ["cat f", "hello"],
  ["readlink l", "f"],
  ["readdir .", "d/ f l@ p|"],
  ["getxattr f user.a", "1"],
  ["open 0 f O_RDONLY"],
  ["open 1 p O_RDONLY"],
  ["access f R_OK"],
  ["access f W_OK", "EROFS"],
  ["access p W_OK"],
  ["open 2 f O_WRONLY", "EROFS"],
  ["open 2 f O_RDWR", "EROFS"],
  ["open 2 f O_RDONLY|O_TRUNC", "EROFS"],
  ["open 2 new O_RDWR|O_CREAT", "EROFS"],
  ["open 2 f O_RDONLY|O_CREAT"],
  ["open 2 f O_RDWR|O_CREAT|O_EXCL", "EEXIST"],
  ["open 2 d O_RDWR|O_TMPFILE", "EROFS"],
  ["mkdir new", "EROFS"],
  ["mkdir d", "EEXIST"],
  ["rmdir d/e", "EROFS"],
  ["rmdir no", "EROFS"],
  ["unlink f", "EROFS"],
  ["rename f g", "EROFS"],
  ["rename f d/g RENAME_NOREPLACE", "EROFS"],
  ["rename f l RENAME_EXCHANGE", "EROFS"],
  ["link f g", "EROFS"],
  ["symlink x s", "EROFS"],
  ["mknod n S_IFIFO|0644", "EROFS"],
  ["mknod n S_IFREG|0644", "EROFS"],
  ["bind s", "EROFS"],
  ["chmod f 0600", "EROFS"],
  ["chmod @0 0600", "EROFS"],
  ["chown f 1 1", "EROFS"],
  ["lchown l 1 1", "EROFS"],
  ["truncate f 0", "EROFS"],
  ["utimens f 1.0 1.0", "EROFS"],
  ["lutimens l 1.0 1.0", "EROFS"],
  ["setxattr f user.a 2", "EROFS"],
  ["removexattr f user.a", "EROFS"],
  ["stat f type,mode,size", "regular 0644 5"],
  ["fsync 0"],
];

/** A directory, and a read-only mount of it. */
export interface ReadOnlyTarget extends AsyncDisposable {
  /** Empty at first. */
  readonly host: string;
  /** Mounts what is in `host` by then, and resolves to the mount point. */
  mount(): Promise<string>;
}

/** Declares a test that a read-only mount shows all and lets nothing be changed. */
export function testReadOnly(name: string, start: () => Promise<ReadOnlyTarget>): void {
  test(`${name} shows all and lets nothing be changed`, async () => {
    await using target = await start();
    {
      await using host = startExecutor(target.host);
      await host.run(CONTENT);
    }
    await using executor = startExecutor(await target.mount());
    const answers = await executor.run(ROWS.map(([command]) => command));
    expect(ROWS.map(([command], at) => `${command} -> ${answers[at]}`)).toEqual(
      ROWS.map(([command, answer = "0"]) => `${command} -> ${answer}`),
    );
  });
}
