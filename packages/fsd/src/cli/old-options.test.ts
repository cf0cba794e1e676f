import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FsdError } from "../error.js";
import { withoutOldOptions } from "./old-options.js";

describe("options of virtiofsd in C", () => {
  test.each([
    ["-o source=/srv,cache=none,xattr", "--shared-dir=/srv --cache=none --xattr"],
    ["-f -osandbox=chroot --socket-path=/s", "--sandbox=chroot --socket-path=/s"],
    ["-d -o no_xattr,no_flock", "--log-level debug"],
    ["-o posix_lock -o log_level=err", "--locks --log-level=error"],
    ["-o writeback,max_idle_threads=4,timeout=5", "--writeback --timeout=5"],
    ["-o modcaps=+sys_admin:-mknod", "--modcaps=+sys_admin:-mknod"],
    ["--shared-dir /srv --fd 3", "--shared-dir /srv --fd 3"],
  ])("%s means %s", (old, now) => {
    expect(withoutOldOptions(old.split(" ")).join(" ")).toBe(now);
  });

  test("a comma in a value has a backslash before it", () => {
    const args = withoutOldOptions(["-o", "xattrmap=:map::user.a\\,b.:,source=/a\\\\b"]);
    expect(args).toEqual(["--xattr", "--xattrmap=:map::user.a,b.:", "--shared-dir=/a\\b"]);
  });

  test("that do not exist, or lack a value, are refused whatever they are", () => {
    const known = fc.constantFrom("source", "xattr=1", "no_such", "=", "cache");
    fc.assert(
      fc.property(fc.oneof(fc.string(), known), (list) => {
        try {
          for (const option of withoutOldOptions(["-o", list])) expect(option).toMatch(/^--/);
        } catch (error) {
          expect(error).toBeInstanceOf(FsdError);
          expect(error).toMatchObject({ code: "ERR_FSD_OPTION" });
        }
      }),
    );
    for (const wrong of ["source", "xattr=1", "no_such", "=", "cache", "constructor"]) {
      expect(() => withoutOldOptions(["-o", wrong])).toThrow(FsdError);
    }
  });
});
