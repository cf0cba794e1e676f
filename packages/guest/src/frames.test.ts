import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeFrame, FRAME_DATA_MAX, FrameDecoder, FrameType } from "./frames.js";

const frame = fc.oneof(
  fc.record({
    type: fc.constantFrom(FrameType.STDOUT, FrameType.STDERR),
    payload: fc.uint8Array({ maxLength: 300 }),
  }),
  fc.record({
    type: fc.constantFrom(FrameType.EXIT, FrameType.HELLO, FrameType.STDIN_CREDIT),
    payload: fc.uint8Array({ maxLength: 40 }),
  }),
);

/** Splits bytes at places chosen by `cuts`. */
function split(bytes: Buffer, cuts: number[]): Buffer[] {
  const places = cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b);
  return [...places, bytes.length].map((end, i) => bytes.subarray(places[i - 1] ?? 0, end));
}

describe("FrameDecoder", () => {
  it("finds the same frames however the stream is cut", () => {
    fc.assert(
      fc.property(fc.array(frame), fc.array(fc.nat()), (frames, cuts) => {
        const stream = Buffer.concat(frames.map(({ type, payload }) => encodeFrame(type, payload)));
        const seen: { type: number; payload: Uint8Array }[] = [];
        const decoder = new FrameDecoder((type, payload) =>
          seen.push({ type, payload: Uint8Array.from(payload) }),
        );
        for (const chunk of split(stream, cuts)) decoder.push(chunk);
        expect(seen).toEqual(frames);
        expect(decoder.idle).toBe(true);
      }),
    );
  });

  it("takes arbitrary bytes with a protocol error at worst", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const decoder = new FrameDecoder((_type, payload) => {
          expect(payload.length).toBeLessThanOrEqual(FRAME_DATA_MAX);
        });
        try {
          decoder.push(Buffer.from(bytes));
        } catch (error) {
          expect(error).toMatchObject({ code: "ERR_AGENT_PROTOCOL" });
        }
      }),
      { numRuns: runs(2000) },
    );
  });

  it("refuses a length beyond the limit from the header alone", () => {
    const header = Buffer.alloc(5);
    header.writeUInt32LE(FRAME_DATA_MAX + 1);
    header[4] = FrameType.STDOUT;
    expect(() => new FrameDecoder(() => {}).push(Buffer.concat([header, Buffer.alloc(1)]))).toThrow(
      /65537 bytes/,
    );
  });

  it("hands on a payload inside one chunk without copying it", () => {
    const chunk = encodeFrame(FrameType.STDOUT, Buffer.from("abc"));
    let payload: Buffer | undefined;
    new FrameDecoder((_type, bytes) => {
      payload = bytes;
    }).push(chunk);
    expect(payload?.buffer).toBe(chunk.buffer);
  });
});
