import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  openDescriptors,
  probeHeaders,
  requireFacility,
  structLayout,
} from "@supermachine-internal/testing";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createMemoryFile, EventFd, SystemCallError, UnixListener, UnixSocket } from "./index.js";
import { socketLayout } from "./unix-socket.js";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unix-socket-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

function connectedPair(): { listener: UnixListener; server: UnixSocket; client: UnixSocket } {
  const listener = UnixListener.listen(join(directory, "s"));
  const client = UnixSocket.connect(listener.path);
  const server = listener.accept();
  if (server === undefined) throw new Error("the connection was not there");
  return { listener, server, client };
}

requireFacility("linux", "program:cc").test(
  "socket structs are laid out as in the C headers",
  () => {
    const declared = new Map(
      Object.entries(socketLayout).flatMap(([name, { size, ...offsets }]) =>
        structLayout({ name, size, offsets }),
      ),
    );
    const headers = ["sys/socket.h", "sys/uio.h", "sys/un.h"];
    expect(probeHeaders({ headers, expressions: declared.keys() })).toEqual(declared);
  },
);

test("descriptors travel with the bytes and name the same open file", () => {
  const { listener, server, client } = connectedPair();
  using event = new EventFd();
  const fds: number[] = [];
  expect(client.send(Buffer.from("hello"), [event.fd, event.fd])).toBe(5);
  const bytes = Buffer.alloc(16);
  expect(server.receive(bytes, fds)).toBe(5);
  expect(bytes.toString("latin1", 0, 5)).toBe("hello");
  expect(fds).toHaveLength(2);
  const [first, second] = fds.map((fd) => new EventFd(fd));
  first?.signal();
  expect(event.drain()).toBe(true);
  first?.close();
  second?.close();
  expect(server.receive(bytes, fds)).toBeUndefined();
  client.close();
  expect(server.receive(bytes, fds)).toBe(0);
  server.close();
  listener.close();
});

test("the most descriptors the kernel allows arrive in order, and one more is refused", () => {
  const { listener, server, client } = connectedPair();
  const before = openDescriptors();
  const file = createMemoryFile("many");
  client.send(Buffer.from("x"), Array<number>(253).fill(file));
  const fds: number[] = [];
  expect(server.receive(Buffer.alloc(1), fds)).toBe(1);
  expect(new Set(fds).size).toBe(253);
  for (const fd of [...fds, file]) new EventFd(fd).close();
  expect(() => client.send(Buffer.from("x"), Array<number>(254).fill(file))).toThrow(RangeError);
  expect(openDescriptors()).toEqual(before);
  for (const socket of [server, client, listener]) socket.close();
});

test("a listener is private, refuses a taken path, and removes only its own socket file", () => {
  const path = join(directory, "s");
  const before = openDescriptors();
  const listener = UnixListener.listen(path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(listener.accept()).toBeUndefined();
  expect(() => UnixListener.listen(path)).toThrow(/^bind .*: EADDRINUSE$/);
  rmSync(path);
  const successor = UnixListener.listen(path);
  listener.close();
  listener.close();
  expect(existsSync(path)).toBe(true);
  successor.close();
  expect(existsSync(path)).toBe(false);
  expect(() => UnixSocket.connect(path)).toThrow(SystemCallError);
  expect(openDescriptors()).toEqual(before);
});

test("a path that does not fit a socket address is refused before any call", () => {
  expect(() => UnixListener.listen(join(directory, "x".repeat(108)))).toThrow(RangeError);
  expect(() => UnixSocket.connect("")).toThrow(RangeError);
  expect(() => UnixSocket.connect("a\0b")).toThrow(RangeError);
});

test("sending to a peer that is gone is an error, not a signal", () => {
  const { listener, server, client } = connectedPair();
  server.close();
  expect(() => client.send(Buffer.from("x"))).toThrow(/^sendmsg: EPIPE$/);
  client.close();
  listener.close();
});
