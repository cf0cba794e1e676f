import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { MmioDriver } from "../../testing/mmio-driver.js";
import { BlockDevice } from "./block-device.js";
import { virtioBlkConfig, virtioBlkDiscardWriteZeroes, virtioBlkOuthdr } from "./block-layout.js";
import { FileBlockBackend } from "./file-backend.js";

const [IN, OUT, FLUSH, GET_ID, DISCARD, WRITE_ZEROES] = [0, 1, 4, 8, 11, 13] as const;
const [OK, IOERR, UNSUPP] = [0, 1, 2] as const;

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function setUp({ length = 64 * 512, readOnly = false } = {}) {
  const directory = mkdtempSync(join(tmpdir(), "virtio-blk-"));
  const path = join(directory, "disk");
  const content = Uint8Array.from({ length }, (_, at) => (at >> 9) + (at & 0xff));
  writeFileSync(path, content);
  const errors: Error[] = [];
  const device = new BlockDevice({
    backend: FileBlockBackend.open(path, { readOnly }),
    id: "disk-1",
    onError: (error) => errors.push(error),
  });
  const driver = new MmioDriver(device);
  driver.start();
  cleanups.push(() => {
    driver.close();
    rmSync(directory, { recursive: true });
  });
  return { path, content, driver, errors };
}

function header(type: number, sector: bigint | number): Uint8Array {
  const bytes = new Uint8Array(virtioBlkOuthdr.size);
  virtioBlkOuthdr.encode({ type, ioprio: 0, sector: BigInt(sector) }, bytes);
  return bytes;
}

function range(sector: bigint | number, num_sectors: number, flags = 0): Uint8Array {
  const bytes = new Uint8Array(virtioBlkDiscardWriteZeroes.size);
  virtioBlkDiscardWriteZeroes.encode({ sector: BigInt(sector), num_sectors, flags }, bytes);
  return bytes;
}

const status = (driver: MmioDriver, readable: Uint8Array[], room = 0) =>
  driver.request(0, readable, room > 0 ? [room, 1] : [1]).data.at(-1);

describe("BlockDevice", () => {
  test("shows capacity and limits", () => {
    const { driver } = setUp();
    const config = virtioBlkConfig.decode(driver.readConfig(0, virtioBlkConfig.size));
    expect(config).toMatchObject({ capacity: 64n, blk_size: 512, seg_max: 254 });
  });

  test("reads into scattered buffers, the status sharing the last one", () => {
    const { driver, content } = setUp();
    const { data } = driver.request(0, [header(IN, 3)], [100, 412, 513], { indirect: true });
    expect(data.at(-1)).toBe(OK);
    expect(data.subarray(0, 1024)).toEqual(content.subarray(3 * 512, 5 * 512));
  });

  test("writes, with a header split over buffers, and flushes", () => {
    const { driver, path } = setUp();
    const data = new Uint8Array(1024).fill(0xab);
    const [first, rest] = [header(OUT, 5).subarray(0, 7), header(OUT, 5).subarray(7)];
    expect(status(driver, [first, rest, data.subarray(0, 500), data.subarray(500)])).toBe(OK);
    expect(status(driver, [header(FLUSH, 0)])).toBe(OK);
    const file = readFileSync(path);
    expect(file.subarray(5 * 512, 7 * 512).every((byte) => byte === 0xab)).toBe(true);
    expect(file[7 * 512]).toBe(7);
  });

  test("the last sector is readable and the one after it is not", () => {
    const { driver } = setUp();
    expect(status(driver, [header(IN, 63)], 512)).toBe(OK);
    expect(status(driver, [header(IN, 64)], 512)).toBe(IOERR);
    expect(status(driver, [header(IN, 63)], 1024)).toBe(IOERR);
    expect(status(driver, [header(IN, 2n ** 64n - 1n)], 512)).toBe(IOERR);
    expect(status(driver, [header(IN, 2n ** 55n)], 512)).toBe(IOERR);
    expect(status(driver, [header(OUT, 64), new Uint8Array(512)])).toBe(IOERR);
  });

  test("a length that is no multiple of a sector is an error", () => {
    const { driver } = setUp();
    expect(status(driver, [header(IN, 0)], 511)).toBe(IOERR);
    expect(status(driver, [header(OUT, 0), new Uint8Array(100)])).toBe(IOERR);
  });

  test("a read-only disk says so and refuses writes", () => {
    const { driver, path, content } = setUp({ readOnly: true });
    expect(driver.offeredFeatures() & (1n << 5n)).not.toBe(0n);
    expect(status(driver, [header(OUT, 0), new Uint8Array(512)])).toBe(IOERR);
    expect(status(driver, [header(WRITE_ZEROES, 0), range(0, 1)])).toBe(UNSUPP);
    expect(new Uint8Array(readFileSync(path))).toEqual(content);
  });

  test("a read-only image need not end at a sector: the rest reads as zeros", () => {
    const { driver, content } = setUp({ length: 700, readOnly: true });
    const { data } = driver.request(0, [header(IN, 1)], [512, 1]);
    expect(data.subarray(0, 188)).toEqual(content.subarray(512));
    expect(data.subarray(188, 512).every((byte) => byte === 0)).toBe(true);
    expect(data.at(-1)).toBe(OK);
  });

  test("a file that shrinks gives an I/O error, with the reason for the host", () => {
    const { driver, path, errors } = setUp();
    truncateSync(path, 1024);
    expect(status(driver, [header(IN, 4)], 512)).toBe(IOERR);
    expect(errors).toMatchObject([{ code: "ERR_VIRTIO_BLOCK_BACKEND" }]);
    expect(status(driver, [header(IN, 0)], 512)).toBe(OK);
  });

  test("tells its id", () => {
    const { driver } = setUp();
    const { data } = driver.request(0, [header(GET_ID, 0)], [20, 1]);
    expect(new TextDecoder().decode(data.subarray(0, 20)).replaceAll("\0", "")).toBe("disk-1");
  });

  test("writes zeroes to each range and checks every one", () => {
    const { driver, path } = setUp();
    expect(status(driver, [header(WRITE_ZEROES, 0), range(2, 1), range(10, 2)])).toBe(OK);
    const file = readFileSync(path);
    expect(file.subarray(2 * 512, 3 * 512).every((byte) => byte === 0)).toBe(true);
    expect(file.subarray(10 * 512, 12 * 512).every((byte) => byte === 0)).toBe(true);
    expect(file[3 * 512]).toBe(3);
    expect(status(driver, [header(WRITE_ZEROES, 0), range(63, 2)])).toBe(IOERR);
    expect(status(driver, [header(WRITE_ZEROES, 0), range(2n ** 63n, 1)])).toBe(IOERR);
    expect(status(driver, [header(WRITE_ZEROES, 0), range(0, 1, 2)])).toBe(UNSUPP);
    expect(status(driver, [header(WRITE_ZEROES, 0)])).toBe(IOERR);
    expect(status(driver, [header(WRITE_ZEROES, 0), range(0, 1).subarray(1)])).toBe(IOERR);
  });

  test("an unknown type is unsupported, a short header an error", () => {
    const { driver } = setUp();
    expect(status(driver, [header(99, 0)])).toBe(UNSUPP);
    expect(status(driver, [header(IN, 0).subarray(0, 15)], 512)).toBe(IOERR);
    expect(driver.request(0, [header(IN, 0)]).written).toBe(0);
  });

  test("any header and any sizes give one answer, and only writes change the disk", () => {
    const { driver, path, content } = setUp();
    const sector = fc.oneof(fc.bigInt(0n, 70n), fc.bigInt(0n, 2n ** 64n - 1n));
    const type = fc.oneof(fc.constantFrom(IN, FLUSH, GET_ID, DISCARD, 2, 14), fc.nat(0xffff_ffff));
    fc.assert(
      fc.property(
        type.filter((value) => value !== OUT && value !== WRITE_ZEROES),
        sector,
        fc.nat(16),
        fc.array(fc.uint8Array({ minLength: 1, maxLength: 600 }), { maxLength: 3 }),
        fc.array(fc.integer({ min: 1, max: 1024 }), { maxLength: 3 }),
        (kind, at, headerLength, payload, rooms) => {
          const head = header(kind, at).subarray(0, headerLength);
          const readable = [head, ...payload].filter(({ length }) => length > 0);
          if (readable.length + rooms.length === 0) return;
          const { written, data } = driver.request(0, readable, rooms);
          if (rooms.length === 0) expect(written).toBe(0);
          else expect([OK, IOERR, UNSUPP]).toContain(data.at(-1));
        },
      ),
      { numRuns: runs(1000) },
    );
    expect(driver.failures).toEqual([]);
    expect(new Uint8Array(readFileSync(path))).toEqual(content);
  });
});

describe("FileBlockBackend", () => {
  test.each([
    ["a missing file", "/nonexistent/disk"],
    ["a directory", tmpdir()],
  ])("refuses %s", (_, path) => {
    expect(() => FileBlockBackend.open(path, { readOnly: true })).toThrow(
      expect.objectContaining({ code: "ERR_VIRTIO_BLOCK_BACKEND" }),
    );
  });

  test("refuses to write to a file that is no whole number of sectors", () => {
    const directory = mkdtempSync(join(tmpdir(), "virtio-blk-"));
    cleanups.push(() => rmSync(directory, { recursive: true }));
    const path = join(directory, "disk");
    writeFileSync(path, "short");
    expect(() => FileBlockBackend.open(path)).toThrow(/multiple of 512/);
  });
});
