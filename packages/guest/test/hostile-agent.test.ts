import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { runs } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { encodeFrame, FrameType } from "../src/frames.js";
import { AgentClient } from "../src/index.js";

/** Answers every connection with bytes, whatever it is asked, and closes. */
let answer: Uint8Array = Buffer.alloc(0);
const server = createServer((socket) => {
  socket.on("error", () => {}).resume();
  socket.end(answer);
});
let client: AgentClient;
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  client = new AgentClient({
    connect: () =>
      new Promise<Socket>((resolve, reject) => {
        const socket = connect(port, "127.0.0.1");
        socket.once("connect", () => resolve(socket.off("error", reject)));
        socket.once("error", reject);
      }),
  });
});
afterAll(() => {
  server.close();
});

const u32 = (...values: number[]) => {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => {
    bytes.writeUInt32LE(value >>> 0, 4 * index);
  });
  return bytes;
};
const anyU32 = fc.integer({ min: 0, max: 0xffff_ffff });
/** Frames as an agent may send them, in any order and with any content. */
const frame = fc.oneof(
  fc
    .tuple(fc.constantFrom(FrameType.STDOUT, FrameType.STDERR), fc.uint8Array({ maxLength: 200 }))
    .map(([type, bytes]) => encodeFrame(type, bytes)),
  fc
    .tuple(fc.constantFrom(...Object.values(FrameType)), fc.array(anyU32, { maxLength: 9 }))
    .map(([type, values]) => encodeFrame(type, u32(...values))),
  fc
    .tuple(anyU32, anyU32, fc.boolean(), fc.nat(1))
    .map(([kind, value, timedOut, more]) =>
      encodeFrame(FrameType.EXIT, u32(kind % 3, value, Number(timedOut), more, 1, 0, 2, 0)),
    ),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
);

describe("whatever a guest answers", () => {
  it("a request ends in a result or a typed error", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(frame, { maxLength: 8 }), async (frames) => {
        answer = Buffer.concat(frames);
        const requests = [
          client.run({ argv: ["a"], input: "some input" }),
          client.runChain({ commands: [["a"], ["b"]] }),
          client.exec({ argv: ["a"], stageFiles: [{ path: "/a", data: "x" }] }).output(),
        ];
        for (const result of await Promise.allSettled(requests)) {
          if (result.status === "fulfilled") continue;
          expect(result.reason).toMatchObject({
            name: "AgentError",
            code: expect.stringMatching(/^ERR_(AGENT|EXEC)_/),
          });
        }
      }),
      { numRuns: runs(300) },
    );
  });

  it("no credit makes the host send more than one window ahead", async () => {
    answer = Buffer.concat(
      Array.from({ length: 50 }, () => encodeFrame(FrameType.STDIN_CREDIT, u32(0xffff_ffff))),
    );
    await expect(client.run({ argv: ["a"], input: Buffer.alloc(4 << 20) })).rejects.toMatchObject({
      code: "ERR_AGENT_GONE",
    });
  });

  it("an exit of one command of many is no end", async () => {
    answer = encodeFrame(FrameType.EXIT, u32(0, 0, 0, 1, 0, 0, 0, 0));
    await expect(client.runChain({ commands: [["a"], ["b"]] })).rejects.toMatchObject({
      code: "ERR_AGENT_GONE",
    });
  });
});
