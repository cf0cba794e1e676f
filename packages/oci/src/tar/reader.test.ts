import { execFileSync } from "node:child_process";
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeName } from "@supermachine/erofs";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { OciError } from "../errors.js";
import { parsePax, parsePaxTime } from "./pax.js";
import { readTar, type TarHeader } from "./reader.js";

async function* inParts(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function readAll(bytes: Uint8Array, partSize = 65536): Promise<[TarHeader, string][]> {
  const entries: [TarHeader, string][] = [];
  for await (const { header, content } of readTar(inParts(bytes, partSize))) {
    let text = "";
    for await (const part of content()) text += Buffer.from(part).toString("latin1");
    entries.push([header, text]);
  }
  return entries;
}

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tar-test-"));
  const long = "long".repeat(20);
  mkdirSync(join(directory, "tree", long, long), { recursive: true });
  writeFileSync(join(directory, "tree", long, long, "ünï"), "deep");
  writeFileSync(
    Buffer.concat([Buffer.from(join(directory, "tree/latin-")), Buffer.from([0xfc])]),
    "latin",
  );
  writeFileSync(join(directory, "tree", "large"), "0123456789".repeat(1000));
  linkSync(join(directory, "tree", "large"), join(directory, "tree", "link"));
  symlinkSync("t/".repeat(100), join(directory, "tree", "symlink"));
  utimesSync(join(directory, "tree", "large"), 1_500_000_000.5, 1_500_000_000.5);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const pack = (...options: string[]) =>
  execFileSync(
    "tar",
    ["--sort=name", "--numeric-owner", ...options, "-C", directory, "-cf", "-", "tree"],
    { maxBuffer: 1 << 26 },
  );

test.each(["gnu", "pax", "posix"])("the %s archives of GNU tar are read", async (format) => {
  const bytes = pack(`--format=${format}`, "--owner=3000000", "--group=4294967294");
  const entries = await readAll(bytes);
  const byName = new Map(entries.map(([header, content]) => [header.name, { header, content }]));
  const long = "long".repeat(20);
  expect(byName.get(`tree/${long}/${long}/ünï`)?.content).toBe("deep");
  expect(byName.get("tree/large")).toMatchObject({
    header: { size: 10_000, uid: 3_000_000, gid: 4_294_967_294, mtime: 1_500_000_000 },
  });
  if (format !== "gnu") expect(byName.get("tree/large")?.header.mtimeNsec).toBe(500_000_000);
  expect(byName.get("tree/link")?.header).toMatchObject({
    type: "link",
    linkname: "tree/large",
    size: 0,
  });
  expect(byName.get("tree/symlink")?.header).toMatchObject({
    type: "symlink",
    linkname: "t/".repeat(100),
  });
  const latin = entries.find(([header]) => header.name.includes("latin"))?.[0].name ?? "";
  expect(Buffer.from(encodeName(latin)).toString("latin1")).toBe("tree/latin-\xfc");
});

test("an archive reads the same however it is cut into parts", async () => {
  const bytes = pack("--format=pax");
  const whole = await readAll(bytes);
  for (const size of [1, 7, 511, 512, 513]) expect(await readAll(bytes, size)).toEqual(whole);
});

test("entries may be passed over without reading them", async () => {
  const names: string[] = [];
  for await (const { header } of readTar(inParts(pack(), 1000))) names.push(header.name);
  expect(names).toHaveLength(8);
});

test("a GNU sparse file is refused", async () => {
  execFileSync("truncate", ["-s", "10M", join(directory, "sparse")]);
  for (const format of ["gnu", "pax"]) {
    const bytes = execFileSync("tar", [
      `--format=${format}`,
      "-S",
      "-C",
      directory,
      "-cf",
      "-",
      "sparse",
    ]);
    await expect(readAll(bytes)).rejects.toMatchObject({ code: "ERR_OCI_UNSUPPORTED_MEDIA" });
  }
});

test("an archive with any bytes changed is read or refused with an OciError", async () => {
  const archives = ["gnu", "pax", "ustar", "v7"].map((format) => {
    const only =
      format === "v7" || format === "ustar" ? ["--exclude=*long*", "--exclude=symlink"] : [];
    return pack(`--format=${format}`, ...only);
  });
  const checksummed = (bytes: Uint8Array) => {
    for (let block = 0; block + 512 <= bytes.length; block += 512) {
      bytes.fill(0x20, block + 148, block + 156);
      let sum = 0;
      for (let at = block; at < block + 512; at++) sum += bytes[at] ?? 0;
      bytes.set(Buffer.from(`${sum.toString(8).padStart(6, "0")}\0 `), block + 148);
    }
  };
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...archives),
      fc.array(
        fc.tuple(fc.nat(5000), fc.oneof(fc.nat(255), fc.constantFrom(0x80, 0xff, 0x37, 0x78))),
        { minLength: 1, maxLength: 8 },
      ),
      fc.boolean(),
      async (archive, changes, withChecksums) => {
        const bytes = Uint8Array.from(archive);
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        // Right checksums let changed headers through to the parsers behind.
        if (withChecksums) checksummed(bytes);
        try {
          await readAll(bytes);
        } catch (error) {
          if (!(error instanceof OciError)) throw error;
          refused++;
        }
      },
    ),
    { numRuns: runs(500), endOnFailure: true },
  );
  expect(refused).toBeGreaterThan(0);
});

test("pax values may be any bytes, and records that do not fit are refused", () => {
  const value = Buffer.from([0, 10, 255, 61, 32]);
  const record = Buffer.concat([
    Buffer.from("28 SCHILY.xattr.user.x="),
    value.subarray(0, 4),
    Buffer.from("\n"),
  ]);
  expect(parsePax(record).get("SCHILY.xattr.user.x")).toEqual(new Uint8Array(value.subarray(0, 4)));
  for (const text of [
    "x",
    "5 a=b\n",
    "7 a=b\n",
    "-6 a=b\n",
    "6 a=bc",
    "0 a=b\n",
    "5  =b\n",
    "99999999999 a=b\n",
    "6 abc\n",
  ]) {
    expect(() => parsePax(Buffer.from(text)), text).toThrow(OciError);
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      try {
        parsePax(bytes);
      } catch (error) {
        if (!(error instanceof OciError)) throw error;
      }
    }),
  );
});

test.each([
  ["1.5", 1, 500_000_000],
  ["-1.25", -2, 750_000_000],
  ["0", 0, 0],
  ["-0", 0, 0],
  ["12.1234567899", 12, 123_456_789],
])("the pax time %s is rounded down", (text, seconds, nanoseconds) => {
  expect(parsePaxTime(text)).toEqual({ seconds, nanoseconds });
});
