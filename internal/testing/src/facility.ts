import { accessSync, closeSync, constants, openSync } from "node:fs";
import { delimiter, join } from "node:path";
import { describe, test } from "vitest";

/**
 * What a machine may lack. `program:NAME` is an executable in PATH; `lab` is the KVM lab (or any
 * machine a person vouches for by setting `SUPERMACHINE_LAB=1`), whose /dev/kvm runs a guest
 * kernel rather than interpreting it.
 */
export type Facility = "linux" | "x86-64" | "root" | "kvm" | "fuse" | "lab" | `program:${string}`;

/** Why the facility cannot be used here, or undefined where it can. */
export function missing(facility: Facility): string | undefined {
  if (facility.startsWith("program:")) return missingProgram(facility.slice("program:".length));
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
export function requireFacility(...facilities: readonly Facility[]): {
  describe: (name: string, body: () => void) => void;
  test: (name: string, body: () => void | Promise<void>, timeoutMs?: number) => void;
} {
  for (const facility of facilities) {
    const reason = missing(facility);
    if (reason === undefined) continue;
    const because = `[needs ${facility}: ${reason}]`;
    return {
      describe: (name, body) => describe.skip(`${name} ${because}`, body),
      test: (name, body, timeoutMs) => test.skip(`${name} ${because}`, body, timeoutMs),
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
