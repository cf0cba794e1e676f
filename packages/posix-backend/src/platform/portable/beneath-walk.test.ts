import { mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EXDEV, errnoName } from "@supermachine/fuse-protocol";
import {
  openDescriptors,
  requireFacility,
  runs,
  TemporaryDirectory,
} from "@supermachine-internal/testing";
import fc from "fast-check";
import { expect } from "vitest";
import {
  O_DIRECTORY,
  O_PATH,
  RESOLVE_BENEATH,
  RESOLVE_NO_MAGICLINKS,
} from "../../syscalls/constants.js";
import { statxStruct } from "../../syscalls/structs.js";
import * as linux from "../linux-calls.js";
import { linuxPosixCalls } from "./linux-posix-calls.js";
import { portableCalls } from "./portable-calls.js";

const { test } = requireFacility("linux");
const portable = portableCalls(linuxPosixCalls);
const HOW = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;

/** What a walk reaches, as an inode number; or the errno. Both calls are given the same path. */
function reached(calls: typeof linux, root: number, path: string): string {
  const fd = calls.resolveAt(root, Buffer.from(`${path}\0`), HOW);
  if (fd < 0) return errnoName(fd);
  const statx = new Uint8Array(statxStruct.size);
  const failure = calls.statx(fd, statx);
  calls.close(fd);
  return failure < 0 ? errnoName(failure) : String(statxStruct.decode(statx).stx_ino);
}

const component = fc.constantFrom("a", "b", "c", "f", "l0", "l1", "l2", "..", ".", "");
const relative = fc
  .array(component, { minLength: 1, maxLength: 6 })
  .map((components) => components.join("/").replace(/^\/+/, "") || ".");
const target = fc.oneof({ weight: 9, arbitrary: relative }, fc.constant("/"));
const places = fc.constantFrom("", "a", "a/b", "a/b/c", "c");
const links = fc.array(fc.tuple(places, fc.constantFrom("l0", "l1", "l2"), target), {
  maxLength: 8,
});

test("a walk reaches what openat2(2) reaches beneath a directory, or fails alike", () => {
  const failures = new Map<string, number>();
  fc.assert(
    fc.property(links, fc.array(relative, { minLength: 10, maxLength: 10 }), (made, paths) => {
      using dir = new TemporaryDirectory();
      const top = join(dir.path, "top");
      mkdirSync(join(top, "a/b/c"), { recursive: true });
      mkdirSync(join(top, "c"));
      for (const each of ["f", "a/f", "a/b/f"]) writeFileSync(join(top, each), "");
      for (const [place, name, to] of made) {
        try {
          symlinkSync(to, join(top, place, name));
        } catch {
          // There is one already.
        }
      }
      const native = linux.openPath(top, O_PATH | O_DIRECTORY);
      const held = portable.openPath(top, O_PATH | O_DIRECTORY);
      for (const path of paths) {
        const expected = reached(linux, native, path);
        failures.set(expected, (failures.get(expected) ?? 0) + 1);
        expect([path, reached(portable, held, path)]).toEqual([path, expected]);
      }
      linux.close(native);
      portable.close(held);
    }),
    { numRuns: runs(150) },
  );
  // All of this has happened.
  expect([...failures.keys()]).toEqual(expect.arrayContaining(["ENOENT", "EXDEV", "ENOTDIR"]));
});

test("a walk leaves no fd, and never goes where the host moves a directory meanwhile", () => {
  using dir = new TemporaryDirectory();
  mkdirSync(join(dir.path, "top/a/b"), { recursive: true });
  symlinkSync("../../..", join(dir.path, "top/a/b/out"));
  symlinkSync("a/b/../../a/b", join(dir.path, "top/round"));
  const held = portable.openPath(join(dir.path, "top"), O_PATH | O_DIRECTORY);
  const before = openDescriptors().length;
  expect(reached(portable, held, "a/b/out")).toBe(errnoName(-EXDEV));
  expect(reached(portable, held, "round")).toBe(`${statSync(join(dir.path, "top/a/b")).ino}`);
  expect(openDescriptors().length).toBe(before);
  portable.close(held);
});
