import { expect, it } from "vitest";
import { encodeSyncRequest, randomMachineId } from "./sync-request.js";

it.each([
  { time: -1 },
  { time: Number.NaN },
  { entropy: new Uint8Array(257) },
  { hostname: "x".repeat(65) },
  { hostname: "a\0b" },
  { machineId: "0".repeat(31) },
  { machineId: "G".repeat(32) },
])("refuses %j", (options) => {
  expect(() => encodeSyncRequest(options)).toThrow(
    expect.objectContaining({ code: "ERR_AGENT_OPTION" }),
  );
});

it("gives the host's time and new entropy unless told otherwise", () => {
  const before = Date.now();
  const [first, second] = [encodeSyncRequest({}), encodeSyncRequest({})];
  const time = Number(first.readBigUInt64LE(0) / 1_000_000n);
  expect(time).toBeGreaterThanOrEqual(before);
  expect(time).toBeLessThanOrEqual(Date.now());
  expect(first.subarray(16).equals(second.subarray(16))).toBe(false);
});

it("makes machine ids that are random UUIDs without dashes", () => {
  const ids = Array.from({ length: 20 }, randomMachineId);
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
  expect(new Set(ids).size).toBe(20);
});
