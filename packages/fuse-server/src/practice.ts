import {
  encodeName,
  FUSE_CREATE,
  FUSE_FORGET,
  FUSE_GETATTR,
  FUSE_GETXATTR,
  FUSE_INIT,
  FUSE_KERNEL_MINOR_VERSION,
  FUSE_KERNEL_VERSION,
  FUSE_LOOKUP,
  FUSE_OPEN,
  FUSE_OPENDIR,
  FUSE_READ,
  FUSE_READDIR,
  FUSE_READDIRPLUS,
  FUSE_RELEASE,
  FUSE_RELEASEDIR,
  FUSE_RENAME2,
  FUSE_ROOT_ID,
  FUSE_UNLINK,
  FUSE_WRITE,
  fuse_entry_out,
  fuse_forget_in,
  fuse_in_header,
  fuse_init_in,
  fuse_open_out,
  fuse_out_header,
  fuse_read_in,
  fuse_rename2_in,
  O_WRONLY,
} from "@supermachine/fuse-protocol";
import type { FsBackend } from "./backend.js";
import { Session } from "./session.js";
import type { SessionOptions } from "./session-options.js";

/** After this long V8 has compiled most of what requests run through. */
const DURATION_MS = 300;
const FILES = 64;
const ROOM = 1 << 15;

const header = fuse_in_header.offsets;
const BODY = fuse_in_header.size;
const REPLY = fuse_out_header.size;
const { fh, offset, size } = fuse_read_in.offsets;

/** What serves requests: a session, or what a transport puts before one. */
export interface RequestServer {
  /** As {@link Session.handle}. */
  handle(
    input: readonly Uint8Array[],
    output: readonly Uint8Array[],
    complete: (bytesWritten: number) => void,
  ): void;
}

/** Sends requests as the kernel does, all from one buffer, to a session of its own. */
class Practice {
  readonly #server: RequestServer;
  readonly #request = Buffer.allocUnsafeSlow(ROOM);
  readonly #reply = Buffer.allocUnsafeSlow(ROOM);
  readonly #undivided: readonly Uint8Array[] | undefined;
  readonly #output: readonly Uint8Array[];
  #answered = 0;
  readonly #complete = (length: number): void => {
    this.#answered = length;
  };

  /** @param divided - Headers are in buffers of their own. */
  constructor(server: RequestServer, divided: boolean) {
    this.#server = server;
    this.#undivided = divided ? undefined : [this.#request];
    const reply = this.#reply;
    this.#output = divided ? [reply.subarray(0, REPLY), reply.subarray(REPLY)] : [reply];
    this.#request.fill(0);
  }

  /** Where the arguments of the next request go. */
  get body(): Buffer {
    return this.#request.subarray(BODY);
  }

  /**
   * Sends what is in `body`, `length` bytes of it, and empties it. False when the request failed or waits for
   * something.
   */
  send(opcode: number, nodeid: number, length: number): boolean {
    const request = this.#request;
    request.writeUInt32LE(BODY + length, header.len);
    request.writeUInt32LE(opcode, header.opcode);
    request.writeUInt32LE(2, header.unique);
    request.writeBigUInt64LE(BigInt(nodeid), header.nodeid);
    this.#answered = 0;
    const parts = [request.subarray(0, BODY), request.subarray(BODY, BODY + length)];
    this.#server.handle(this.#undivided ?? parts, this.#output, this.#complete);
    request.fill(0, BODY, BODY + length);
    if (this.#answered === 0) return false;
    return this.#reply.readInt32LE(fuse_out_header.offsets.error) === 0;
  }

  /** A 64-bit number of the last reply's body. */
  result(at: number): number {
    return Number(this.#reply.readBigUInt64LE(REPLY + at));
  }

  /** `struct fuse_read_in`, and what starts with the same fields. */
  part(handle: number, length: number): number {
    const { body } = this;
    body.writeBigUInt64LE(BigInt(handle), fh);
    body.writeBigUInt64LE(0n, offset);
    body.writeUInt32LE(length, size);
    return fuse_read_in.size;
  }

  named(at: number, name: Uint8Array): number {
    this.body.set(name, at);
    return at + name.length + 1;
  }
}

function initialize(practice: Practice): boolean {
  const { body } = practice;
  body.writeUInt32LE(FUSE_KERNEL_VERSION, fuse_init_in.offsets.major);
  body.writeUInt32LE(FUSE_KERNEL_MINOR_VERSION, fuse_init_in.offsets.minor);
  body.writeUInt32LE(0x7fff_ffff, fuse_init_in.offsets.flags);
  return practice.send(FUSE_INIT, 0, fuse_init_in.size);
}

/** Makes a file, and uses it as programs do. Returns its nodeid, or 0. */
function useFile(practice: Practice, name: Uint8Array): number {
  practice.send(FUSE_LOOKUP, FUSE_ROOT_ID, practice.named(0, name));
  practice.body.writeUInt32LE(O_WRONLY, 0);
  practice.body.writeUInt32LE(0o644, 4);
  if (!practice.send(FUSE_CREATE, FUSE_ROOT_ID, practice.named(16, name))) return 0;
  const nodeid = practice.result(0);
  const created = practice.result(fuse_entry_out.size + fuse_open_out.offsets.fh);
  practice.send(FUSE_WRITE, nodeid, practice.part(created, 1024) + 1024);
  practice.send(FUSE_RELEASE, nodeid, practice.part(created, 0) - 16);
  practice.send(FUSE_GETATTR, FUSE_ROOT_ID, 16);
  practice.send(FUSE_LOOKUP, FUSE_ROOT_ID, practice.named(0, name));
  for (let i = 0; i < 2 && practice.send(FUSE_OPEN, nodeid, 8); i++) {
    const opened = practice.result(fuse_open_out.offsets.fh);
    practice.send(FUSE_READ, nodeid, practice.part(opened, 4096));
    practice.send(FUSE_RELEASE, nodeid, practice.part(opened, 0) - 16);
  }
  practice.send(FUSE_GETATTR, nodeid, 16);
  practice.send(FUSE_GETXATTR, nodeid, practice.named(8, encodeName("user.absent")));
  return nodeid;
}

function endFile(practice: Practice, name: Uint8Array, other: Uint8Array, nodeid: number): void {
  practice.body.writeUInt32LE(FUSE_ROOT_ID, fuse_rename2_in.offsets.newdir);
  const names = practice.named(practice.named(fuse_rename2_in.size, name), other);
  practice.send(FUSE_RENAME2, FUSE_ROOT_ID, names);
  practice.send(FUSE_UNLINK, FUSE_ROOT_ID, practice.named(0, other));
  forget(practice, nodeid);
}

function forget(practice: Practice, nodeid: number): void {
  // More than it was looked up: all.
  practice.body.writeUInt32LE(0x7fff_ffff, fuse_forget_in.offsets.nlookup);
  practice.send(FUSE_FORGET, nodeid, fuse_forget_in.size);
}

function list(practice: Practice): void {
  for (const opcode of [FUSE_READDIR, FUSE_READDIRPLUS]) {
    if (!practice.send(FUSE_OPENDIR, FUSE_ROOT_ID, 8)) return;
    const opened = practice.result(fuse_open_out.offsets.fh);
    practice.send(opcode, FUSE_ROOT_ID, practice.part(opened, ROOM - REPLY));
    practice.send(FUSE_RELEASEDIR, FUSE_ROOT_ID, practice.part(opened, 0) - 16);
  }
}

/**
 * Serves requests of our own, before a server's first client comes: V8 compiles the code that a request runs
 * through while it is used, and the first thousands would take up to twice as long. Takes 0.3 s. A backend
 * that cannot be used so, or not synchronously, gets less practice.
 *
 * @param backend - One of the kind that will serve: empty, and nobody else's.
 * @param options - Those of the sessions that will serve.
 * @param transport - What requests run through on their way to the session, headers divided from the rest as
 * drivers of virtio-fs do. Default: nothing, and they are undivided.
 */
export function practise(
  backend: FsBackend,
  options: SessionOptions = {},
  transport?: (session: Session) => RequestServer,
): void {
  const logger = { warn: () => {} };
  using session = new Session(backend, { ...options, logger });
  const practice = new Practice(transport?.(session) ?? session, transport !== undefined);
  const names = Array.from({ length: FILES }, (_, i) => encodeName(`file-${i}`));
  const others = Array.from({ length: FILES }, (_, i) => encodeName(`other-${i}`));
  const end = performance.now() + DURATION_MS;
  if (!initialize(practice)) return;
  while (performance.now() < end && session.pending === 0) {
    // Without nodes known: they are found anew.
    const nodeids = names.map((name) => useFile(practice, name));
    for (const nodeid of nodeids) forget(practice, nodeid);
    for (const name of names) practice.send(FUSE_LOOKUP, FUSE_ROOT_ID, practice.named(0, name));
    for (let i = 0; i < 4; i++) list(practice);
    for (const [i, name] of names.entries()) {
      practice.send(FUSE_LOOKUP, FUSE_ROOT_ID, practice.named(0, name));
      endFile(practice, name, others[i] ?? name, practice.result(0));
    }
  }
}
