import fc from "fast-check";
import { expect, test } from "vitest";
import { SupermachineError } from "../errors.js";
import { parseSavedConfig } from "./saved-config.js";

const CONFIG = {
  memoryMiB: 128,
  cpus: 2,
  kernel: "/kernel",
  initrd: "/initrd",
  commandLine: "quiet",
  rootfs: "/rootfs",
  hostname: "box",
  bootTimeoutMs: 30_000,
  provenance: { image: { name: "demo", digest: "sha256:00" }, guest: "a b", env: { PATH: "/bin" } },
  shares: [
    {
      tag: "share0",
      host: "/host",
      readOnly: false,
      symlinks: "opaque",
      cache: "auto",
      dax: "never",
      daxWindowMiB: 256,
    },
  ],
};

/** Those without which it is still known whose it is. */
const { provenance: _, ...MEMBERS } = CONFIG;
const CORRUPT = "ERR_SNAPSHOT_CORRUPT";

const parse = (value: unknown) => parseSavedConfig("/snapshot", JSON.stringify(value));

/** What `parse` throws, or undefined. */
function codeOf(value: unknown): string | undefined {
  try {
    parse(value);
    return undefined;
  } catch (error) {
    return error instanceof SupermachineError ? error.code : String(error);
  }
}

test("a configuration is read as it was written, without what is unknown or runs already", () => {
  expect(parse({ ...CONFIG, command: { argv: ["x"] }, restore: {}, surprise: 1 })).toEqual(CONFIG);
});

test("what is not of this package is told from what is damaged", () => {
  for (const metadata of ["", "{", "null", "[]", "1", '{"provenance":1}']) {
    expect(() => parseSavedConfig("/snapshot", metadata)).toThrow(
      expect.objectContaining({ code: "ERR_SNAPSHOT_FORMAT" }),
    );
  }
});

test("any member that is missing or of another kind is named", () => {
  for (const [where, name] of [
    ...Object.keys(MEMBERS).map((key) => [CONFIG, key] as const),
    ...Object.keys(CONFIG.provenance).map((key) => [CONFIG.provenance, key] as const),
    ...Object.keys(CONFIG.provenance.image).map((key) => [CONFIG.provenance.image, key] as const),
    ...Object.keys(CONFIG.shares[0] ?? {}).map((key) => [CONFIG.shares[0], key] as const),
  ]) {
    for (const wrong of [undefined, null, -1, 1e12, [1], { a: 1 }]) {
      const replaced = JSON.parse(JSON.stringify(CONFIG), function (this: unknown, key, value) {
        const isHere = key === name && JSON.stringify(this) === JSON.stringify(where);
        return isHere ? wrong : value;
      });
      expect([name, wrong, codeOf(replaced)]).toEqual([name, wrong, CORRUPT]);
    }
  }
});

test("no text gives anything but a configuration or one of two errors", () => {
  const codes = [undefined, CORRUPT, "ERR_SNAPSHOT_FORMAT"];
  fc.assert(
    fc.property(fc.jsonValue(), fc.constantFrom(...Object.keys(CONFIG)), (value, key) => {
      expect(codes).toContain(codeOf(value));
      expect(codes).toContain(codeOf({ ...CONFIG, [key]: value }));
    }),
  );
});
