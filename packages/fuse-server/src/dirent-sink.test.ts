import { alignRecord, decodeName, fuse_dirent, fuse_direntplus } from "@supermachine/fuse-protocol";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DirentPlusSink, DirentSink } from "./dirent-sink.js";

const names = fc.array(fc.uint8Array({ minLength: 1, maxLength: 255 }), { maxLength: 12 });
const room = fc.integer({ min: 0, max: 2048 });

/** A reply that held something before, and a view of it. */
function usedMemory(): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(4096).fill(0xa5);
  return { bytes, view: new DataView(bytes.buffer) };
}

/** Some name inside a larger buffer, as it comes from the system. */
function surrounded(name: Uint8Array): Uint8Array {
  return Uint8Array.of(0x78, 0x78, 0x78, ...name, 0, 0x79);
}

/** What lies between the names and the ends of their records. */
function paddingOf(reply: Buffer): number[] {
  const padding: number[] = [];
  for (let at = 16; at < reply.length; ) {
    const end = at + fuse_dirent.size + reply.readUInt32LE(at + fuse_dirent.offsets.namelen);
    at = alignRecord(end);
    padding.push(...reply.subarray(end, at));
  }
  return padding;
}

describe("records of a listing", () => {
  it("are the same for a name as a string and as bytes, and end in zeros", () => {
    fc.assert(
      fc.property(names, room, (list, size) => {
        const replies = [true, false].map((decoded) => {
          const { bytes, view } = usedMemory();
          const sink = new DirentSink();
          sink.begin(bytes, view, 16, 16 + size);
          const added = list.map((name, i) =>
            decoded
              ? sink.add(decodeName(name), 2 ** 40 + i, 8, i + 1)
              : sink.addBytes(surrounded(name), 3, 3 + name.length, 2 ** 40 + i, 8, i + 1),
          );
          expect(bytes.subarray(16 + sink.length).every((byte) => byte === 0xa5)).toBe(true);
          expect(sink.length).toBeLessThanOrEqual(size);
          return { added, reply: Buffer.from(bytes.subarray(0, 16 + sink.length)) };
        });
        expect(replies[1]).toEqual(replies[0]);
        expect(paddingOf(replies[0]?.reply ?? Buffer.alloc(0)).every((byte) => byte === 0)).toBe(
          true,
        );
      }),
      { numRuns: runs(500) },
    );
  });

  it("with attributes are so, too, and count the nodes that fit", () => {
    fc.assert(
      fc.property(names, room, (list, size) => {
        const replies = [true, false].map((decoded) => {
          const { bytes, view } = usedMemory();
          const sink = new DirentPlusSink();
          sink.begin(bytes, view, 16, 16 + size, 1000, 1000);
          for (const [i, name] of list.entries()) {
            sink.entry.nodeid = i + 2;
            const isAdded = decoded
              ? sink.add(decodeName(name), i + 1)
              : sink.addBytes(surrounded(name), 3, 3 + name.length, i + 1);
            if (!isAdded) break;
          }
          expect(sink.length).toBeGreaterThanOrEqual(sink.delivered.length * fuse_direntplus.size);
          return [...sink.delivered, Buffer.from(bytes.subarray(0, 16 + sink.length))];
        });
        expect(replies[1]).toEqual(replies[0]);
      }),
      { numRuns: runs(500) },
    );
  });
});
