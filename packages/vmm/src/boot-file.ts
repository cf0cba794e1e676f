import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { BootFile } from "./boot/linux.js";
import { VmmError } from "./errors.js";

/** A boot file on disk, open until `close()`. */
export interface OpenBootFile extends BootFile, Disposable {}

/** Opens a kernel or initial RAM disk. `what` names its role in messages. */
export function openBootFile(path: string, what: string): OpenBootFile {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (cause) {
    throw new VmmError("ERR_VMM_OPTION", `the ${what} ${path} cannot be opened; check the path`, {
      cause,
    });
  }
  return {
    name: path,
    size: fstatSync(fd).size,
    read(target, position) {
      for (let done = 0; done < target.length; ) {
        const count = readSync(fd, target, done, target.length - done, position + done);
        if (count === 0) throw new VmmError("ERR_VMM_OPTION", `the ${what} ${path} was truncated`);
        done += count;
      }
    },
    [Symbol.dispose]: () => closeSync(fd),
  };
}
