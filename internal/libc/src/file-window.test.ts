import {
  closeSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { FileWindow } from "./file-window.js";
import { viewAt } from "./memory.js";

const SIZE = 4 << 20;

let directory: string;
let path: string;
let fd: number;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "window-"));
  path = join(directory, "file");
  fd = openSync(path, "w+");
  ftruncateSync(fd, 2 * 4096);
  writeSync(fd, "first", 0);
  writeSync(fd, "second", 4096);
});
afterAll(() => {
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

/** Permissions of the mapping at an address, as in /proc/self/maps; "" when there is none. */
function protectionAt(address: bigint): string {
  for (const line of readFileSync("/proc/self/maps", "utf8").split("\n")) {
    const match = /^(\w+)-(\w+) (\S+)/.exec(line);
    if (match === null) continue;
    const [start, end] = [BigInt(`0x${match[1]}`), BigInt(`0x${match[2]}`)];
    if (address >= start && address < end) return match[3] ?? "";
  }
  return "";
}

const at = (window: FileWindow, offset: number) => window.hostAddress + BigInt(offset);
const textAt = (window: FileWindow, offset: number, length: number) =>
  Buffer.from(viewAt(at(window, offset), length)).toString("latin1");

test("files come and go in a window that is otherwise inaccessible", () => {
  using window = new FileWindow(SIZE);
  expect(window.hostAddress % (2n << 20n)).toBe(0n);
  expect(protectionAt(at(window, 0))).toBe("---p");
  expect(window.map(fd, 4096, 4096, 8192, false)).toBe(0);
  expect(textAt(window, 8192, 6)).toBe("second");
  expect([4096, 8192, 12288].map((offset) => protectionAt(at(window, offset)))).toEqual([
    "---p",
    "r--s",
    "---p",
  ]);
  expect(window.map(fd, 0, 4096, 8192, true)).toBe(0);
  new Uint8Array(viewAt(at(window, 8192), 4096))[0] = 0x46;
  expect(readFileSync(path, "latin1").slice(0, 5)).toBe("First");
  expect(window.mapZeros(8192, 4096)).toBe(0);
  expect(textAt(window, 8192, 5)).toBe("\0".repeat(5));
  expect(window.unmap(8192, 4096)).toBe(0);
  expect(protectionAt(at(window, 8192))).toBe("---p");
});

test("a failure is a negated errno and leaves the window whole", () => {
  using window = new FileWindow(SIZE);
  expect(window.map(-1, 0, 4096, 0, false)).toBe(-9); // EBADF
  expect(window.map(fd, 1, 4096, 0, false)).toBe(-22); // EINVAL
  using readOnly = { fd: openSync(path, "r"), [Symbol.dispose]: () => closeSync(readOnly.fd) };
  expect(window.map(readOnly.fd, 0, 4096, 0, true)).toBe(-13); // EACCES
  expect(protectionAt(at(window, 0))).toBe("---p");
});

test("nothing outside the window, or after its close, is ever mapped over", () => {
  const window = new FileWindow(SIZE);
  for (const [offset, length] of [
    [-4096, 4096],
    [SIZE, 4096],
    [SIZE - 4096, 8192],
    [0, 0],
    [Number.NaN, 4096],
  ] as const) {
    expect(() => window.map(fd, 0, length, offset, false)).toThrow(RangeError);
  }
  window.close();
  window.close();
  expect(() => window.unmap(0, 4096)).toThrow(RangeError);
});

test("bytes are copied in and out where they may be accessed, and nowhere else", () => {
  using window = new FileWindow(SIZE);
  const bytes = Buffer.alloc(6);
  expect(window.read(0, bytes)).toBe(false);
  expect(window.map(fd, 4096, 8192, 0, true)).toBe(0); // the second page lies behind the end
  expect(window.write(0, Buffer.from("SECOND"))).toBe(true);
  expect(readFileSync(path, "latin1").slice(4096, 4102)).toBe("SECOND");
  expect(window.read(0, bytes)).toBe(true);
  expect(bytes.toString()).toBe("SECOND");
  expect(window.read(4093, bytes)).toBe(false);
  expect(window.write(4093, bytes)).toBe(false);
  expect(window.map(fd, 4096, 4096, 0, false)).toBe(0);
  expect(window.write(0, bytes)).toBe(false);
  expect(window.read(SIZE - 5, bytes)).toBe(false);
  expect(window.read(-1, bytes)).toBe(false);
  window.close();
  expect(window.read(0, bytes)).toBe(false);
});
