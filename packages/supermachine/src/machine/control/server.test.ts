import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Journal } from "../journal.js";
import { JsonLines } from "./json-lines.js";
import { type ControlHandler, ControlServer } from "./server.js";

const journal = new Journal<string>(1 << 20, ({ length }) => length);
let directory: TemporaryDirectory;
let server: ControlServer;
let asked: string[];

const handler: ControlHandler = {
  async request(method, params) {
    asked.push(method);
    if (method === "fail") throw Object.assign(new Error("it cannot"), { code: "ERR_TEST" });
    if (method === "never") return new Promise(() => {});
    return params;
  },
  stream: (name, _params, signal) => (name === "log" ? journal.read(0, true, signal) : undefined),
};

beforeEach(async () => {
  asked = [];
  directory = new TemporaryDirectory();
  server = await ControlServer.listen(join(directory.path, "control"), handler);
});
afterEach(async () => {
  await server.close();
  directory[Symbol.dispose]();
});

function dial(): { socket: Socket; received: unknown[] } {
  const socket = connect(join(directory.path, "control"));
  const received: unknown[] = [];
  const lines = new JsonLines((value) => received.push(value));
  socket.on("data", (bytes) => lines.push(bytes)).on("error", () => {});
  return { socket, received };
}

/** Whether it is closed in order or reset. */
const closed = (socket: Socket) =>
  new Promise<void>((resolve) => {
    if (socket.closed) resolve();
    else socket.once("close", () => resolve());
  });

const ask = (socket: Socket, id: number, method: string, params: unknown = null) =>
  socket.write(`${JSON.stringify({ id, method, params })}\n`);

test("requests are answered by id, also with what went wrong", async () => {
  const { socket, received } = dial();
  ask(socket, 7, "never");
  ask(socket, 8, "echo", { a: 1 });
  ask(socket, 9, "fail");
  await expect.poll(() => received.length).toBe(3);
  expect(received[0]).toEqual({ supermachine: 1 });
  expect(received).toContainEqual({ id: 8, result: { a: 1 } });
  expect(received).toContainEqual({ id: 9, error: { code: "ERR_TEST", message: "it cannot" } });
  socket.destroy();
});

test("hostile bytes end their own connection and nothing else", async () => {
  const { socket: witness, received } = dial();
  const message = fc.oneof(
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    fc.json().map((json) => Buffer.from(`${json}\n`)),
    fc
      .record({ id: fc.anything(), method: fc.anything(), params: fc.anything() })
      .map((value) => Buffer.from(`${JSON.stringify(value) ?? ""}\n`)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(message, { maxLength: 5 }), async (messages) => {
      const { socket } = dial();
      await once(socket, "connect");
      for (const bytes of messages) socket.write(bytes);
      socket.end();
      await closed(socket);
    }),
    { numRuns: 50 },
  );
  const endless = dial().socket;
  endless.write(Buffer.alloc(3 << 20, "x"));
  await closed(endless);
  ask(witness, 1, "echo", { still: "here" });
  await expect.poll(() => received).toContainEqual({ id: 1, result: { still: "here" } });
  witness.destroy();
});

test("a client with too many requests open, or one id for two, is let go", async () => {
  const many = dial().socket;
  for (let id = 0; id < 1000; id++) ask(many, id, "never");
  await closed(many);
  const twice = dial().socket;
  ask(twice, 1, "never");
  ask(twice, 1, "never");
  await closed(twice);
});

test("a subscriber that does not read holds up neither others nor the writer", async () => {
  const lazy = dial().socket;
  await once(lazy, "connect");
  ask(lazy, 1, "log");
  lazy.pause();
  const { socket: eager, received } = dial();
  ask(eager, 1, "log");
  await expect.poll(() => received.length).toBe(1);
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 200; i++) {
    for (let j = 0; j < 100; j++) journal.append(`${i} ${"x".repeat(10_000)}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
  journal.append("last");
  const last = () => received.at(-1);
  await expect.poll(last, { timeout: 20_000 }).toMatchObject({ item: { entry: "last" } });
  // 200 MB went through; the lazy one was sent what its socket holds.
  expect(lazy.destroyed).toBe(false);
  expect(process.memoryUsage().rss - before).toBeLessThan(150e6);
  for (const socket of [lazy, eager]) socket.destroy();
});
