import { expect, test } from "vitest";
import { MAX_CPUS } from "../machine-options.js";
import { buildMpTable } from "./mp-table.js";

const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => (total + byte) & 0xff, 0);

test.each([1, 2, MAX_CPUS])("the tables of %i CPUs are consistent and fit the last KiB", (cpus) => {
  const table = Buffer.from(buildMpTable(cpus, 0x9fc00));
  expect(table.length).toBeLessThanOrEqual(1024);
  expect(table.toString("latin1", 0, 4)).toBe("_MP_");
  expect(sum(table.subarray(0, 16))).toBe(0);
  expect(table.readUInt32LE(4)).toBe(0x9fc10);

  const configuration = table.subarray(16);
  expect(configuration.toString("latin1", 0, 4)).toBe("PCMP");
  expect(configuration.readUInt16LE(4)).toBe(configuration.length);
  expect(sum(configuration)).toBe(0);
  expect(configuration.readUInt16LE(34)).toBe(cpus + 1 + 1 + 24 + 2);
});
