import { afterEach, expect, it, vi } from "vitest";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

it("loads and reads messages where there is no Buffer, as in a browser", async () => {
  vi.resetModules();
  vi.stubGlobal("Buffer", undefined);
  const protocol = await import("./index.js");
  const { fuse_in_header, decodeName, encodeName, operations, errnoName } = protocol;
  const bytes = new Uint8Array(fuse_in_header.size);
  const view = new DataView(bytes.buffer);
  view.setUint32(fuse_in_header.offsets.opcode, protocol.FUSE_LOOKUP, true);
  expect(operations[view.getUint32(fuse_in_header.offsets.opcode, true)]?.name).toBe("LOOKUP");
  expect(decodeName(encodeName("naïve\udcff"))).toBe("naïve\udcff");
  expect(decodeName(encodeName("plain"))).toBe("plain");
  expect(errnoName(-2)).toBe("ENOENT");
});
