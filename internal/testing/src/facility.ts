import { spawnSync } from "node:child_process";
import { accessSync, closeSync, constants, existsSync, openSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { describe, test } from "vitest";

/**
 * What a machine may lack. `program:NAME` is an executable in PATH, `file:PATH` a file of the system
 * or of a build; `erofs` is the right and the means to mount an EROFS image; `lab` is the KVM lab (or
 * any machine a person vouches for by setting `SUPERMACHINE_LAB=1`), whose /dev/kvm runs a guest
 * kernel rather than interpreting it.
 */
export type Facility =
  | "linux"
  | "x86-64"
  | "root"
  | "kvm"
  | "fuse"
  | "erofs"
  | "lab"
  | `program:${string}`
  | `file:${string}`;

/** A facility that only the test itself can look for: why it is missing, or undefined. */
export interface OwnFacility {
  /** Without spaces. */
  readonly name: string;
  readonly missing: string | undefined;
}

/** Why the facility cannot be used here, or undefined where it can. */
export function missing(facility: Facility): string | undefined {
  if (facility.startsWith("program:")) return missingProgram(facility.slice("program:".length));
  if (facility.startsWith("file:")) return missingFile(facility.slice("file:".length));
  switch (facility) {
    case "linux":
      return process.platform === "linux" ? undefined : `this is ${process.platform}`;
    case "x86-64":
      return process.arch === "x64" ? undefined : `this is ${process.arch}`;
    case "root":
      return process.geteuid?.() === 0 ? undefined : "not root";
    case "kvm":
      return missingDevice("/dev/kvm");
    case "fuse":
      return missingDevice("/dev/fuse");
    case "erofs":
      return missingErofs();
    case "lab":
      return process.env["SUPERMACHINE_LAB"] === "1" ? undefined : "not in the KVM lab";
    default:
      throw new TypeError(`unknown facility ${facility}`);
  }
}

/**
 * `describe` and `test` for what needs the named facilities. Where one is missing they skip, and
 * the reason becomes part of the name: `npm test` reads it from there, and in CI fails for a skip
 * that has none.
 *
 * @example
 * requireFacility("fuse", "root").test("a mount answers statfs", async () => { … });
 */
export function requireFacility(...facilities: readonly (Facility | OwnFacility)[]): {
  describe: (name: string, body: () => void, timeoutMs?: number) => void;
  test: (name: string, body: () => void | Promise<void>, timeoutMs?: number) => void;
} {
  for (const facility of facilities) {
    const { name: needed, missing: reason } =
      typeof facility === "string" ? { name: facility, missing: missing(facility) } : facility;
    if (reason === undefined) continue;
    const because = `[needs ${needed}: ${reason}]`;
    return {
      describe: (name, body) => describe.skip(`${name} ${because}`, body),
      test: (name, body) => test.skip(`${name} ${because}`, body),
    };
  }
  return { describe, test };
}

function missingDevice(path: string): string | undefined {
  try {
    closeSync(openSync(path, "r+"));
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function missingErofs(): string | undefined {
  const unable = missing("linux") ?? missing("root");
  if (unable !== undefined) return unable;
  // Modules that are built in, or that another namespace owns, cannot be loaded, and need not be.
  spawnSync("modprobe", ["-a", "erofs", "loop"]);
  if (!readFileSync("/proc/filesystems", "latin1").includes("\terofs\n"))
    return "the kernel has no EROFS";
  return spawnSync("losetup", ["-f"]).status === 0 ? undefined : "there are no loop devices";
}

function missingFile(path: string): string | undefined {
  return existsSync(path) ? undefined : `there is no ${path}`;
}

function missingProgram(name: string): string | undefined {
  // Debian keeps system tools out of an ordinary user's PATH.
  const path = [process.env["PATH"] ?? "", "/usr/sbin", "/sbin"].join(delimiter);
  for (const directory of path.split(delimiter)) {
    if (directory === "") continue;
    try {
      accessSync(join(directory, name), constants.X_OK);
      return undefined;
    } catch {
      // not here
    }
  }
  return `${name} is not installed`;
}
