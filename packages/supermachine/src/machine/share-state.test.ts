import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeShareState, encodeShareState } from "./share-state.js";

const info = {
  minor: 38,
  flags: 0xffff_ffff_0000_0001n,
  maxWrite: 1 << 20,
  maxReadahead: 1 << 17,
  hostKernel: false,
};

test("the state of a share is read as it was written, mounted or not", () => {
  for (const agreed of [info, undefined]) {
    const { info: found, nodes } = decodeShareState(encodeShareState(agreed, Buffer.from("nodes")));
    expect(found).toEqual(agreed);
    expect(Buffer.from(nodes).toString()).toBe("nodes");
  }
});

test("a state never makes its client the kernel of the host", () => {
  const state = encodeShareState({ ...info, hostKernel: true }, new Uint8Array());
  expect(decodeShareState(state).info?.hostKernel).toBe(false);
});

test("any other bytes are refused, or read as a state", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        decodeShareState(bytes);
      } catch (error) {
        expect(error).toMatchObject({ code: "ERR_SNAPSHOT_CORRUPT" });
      }
    }),
  );
});
