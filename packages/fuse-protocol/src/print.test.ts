import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  FUSE_CREATE,
  FUSE_GETATTR,
  FUSE_LOOKUP,
  FUSE_RENAME2,
  fuse_in_header,
  fuse_rename2_in,
  operations,
  printReply,
  printRequest,
} from "./index.js";

function request(opcode: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(fuse_in_header.size + body.length);
  fuse_in_header.encode(
    {
      len: bytes.length,
      opcode,
      unique: 6n,
      nodeid: 1n,
      uid: 0,
      gid: 0,
      pid: 0,
      total_extlen: 0,
      padding: 0,
    },
    bytes,
  );
  bytes.set(body, fuse_in_header.size);
  return bytes;
}

describe("printing", () => {
  it("shows operation, node, fields and names of a request", () => {
    const body = new Uint8Array(fuse_rename2_in.size + 4);
    fuse_rename2_in.encode({ newdir: 7n, flags: 1, padding: 0 }, body);
    body.set([0x61, 0, 0x62, 0], fuse_rename2_in.size);
    expect(printRequest(request(FUSE_RENAME2, body))).toBe(
      'RENAME2 #6 node 1 newdir=7 flags=1 "a" "b"',
    );
  });

  it("shows the error of a reply", () => {
    const reply = new Uint8Array([16, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 6, 0, 0, 0, 0, 0, 0, 0]);
    expect(printReply(FUSE_LOOKUP, reply)).toBe("LOOKUP #6 ENOENT");
  });

  it("never fails, whatever the bytes", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 60 }),
        fc.uint8Array({ maxLength: 200 }),
        (op, body) => {
          expect(printRequest(request(op, body))).toMatch(/#6/);
          expect(printRequest(body)).toBeTypeOf("string");
          expect(printReply(op, body)).toBeTypeOf("string");
        },
      ),
    );
  });
});

describe("the operation table", () => {
  it("is indexed by opcode", () => {
    for (const [index, operation] of operations.entries()) {
      if (operation !== undefined) expect(operation.opcode).toBe(index);
    }
    expect(operations[FUSE_CREATE]?.names).toBe(1);
    expect(operations[FUSE_GETATTR]?.reply?.name).toBe("fuse_attr_out");
    expect(operations[7]).toBeUndefined();
  });
});
