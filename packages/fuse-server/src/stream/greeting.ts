import { FuseServerError } from "../error.js";

/*
 * What a client of a server with several roots says first, and the answer. Framed as FUSE messages are, by
 * their own length; all integers are little-endian.
 *
 *   greeting   u32 length   u32 magic   u32 version   name of the root, UTF-8, 1 to 255 bytes
 *   answer     u32 length   u32 magic   u32 version   i32 error: 0, or a negated errno
 */

const MAGIC = 0x534d_4653;
const VERSION = 1;
const NAME_AT = 12;
const ANSWER_BYTES = 16;
const LONGEST_NAME = 255;

/** Bounds of a greeting in bytes. */
export const SHORTEST_GREETING = NAME_AT + 1;
export const LONGEST_GREETING = NAME_AT + LONGEST_NAME;
/** Bytes of an answer. */
export const ANSWER_LENGTH = ANSWER_BYTES;

function malformed(reason: string): FuseServerError {
  return new FuseServerError("ERR_FUSE_GREETING", reason);
}

/** Throws {@link FuseServerError} `ERR_FUSE_GREETING` for a name that a greeting cannot carry. */
export function encodeGreeting(root: string): Buffer {
  const name = Buffer.from(root, "utf8");
  if (name.length === 0 || name.length > LONGEST_NAME || name.includes(0)) {
    throw malformed(`the name of a root has 1 to ${LONGEST_NAME} bytes, none of them 0`);
  }
  const greeting = Buffer.alloc(NAME_AT + name.length);
  greeting.writeUInt32LE(greeting.length, 0);
  greeting.writeUInt32LE(MAGIC, 4);
  greeting.writeUInt32LE(VERSION, 8);
  greeting.set(name, NAME_AT);
  return greeting;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The name of the root. Throws {@link FuseServerError} `ERR_FUSE_GREETING`. */
export function decodeGreeting(greeting: Buffer): string {
  if (greeting.length < SHORTEST_GREETING || greeting.length > LONGEST_GREETING) {
    throw malformed(`a greeting of ${greeting.length} bytes`);
  }
  checkVersion(greeting);
  const name = greeting.subarray(NAME_AT);
  if (name.includes(0)) throw malformed("the name of a root contains a 0");
  try {
    return utf8.decode(name);
  } catch (cause) {
    throw new FuseServerError("ERR_FUSE_GREETING", "the name of a root is not UTF-8", { cause });
  }
}

/** @param error - 0 or a negated errno. */
export function encodeAnswer(error: number): Buffer {
  const answer = Buffer.alloc(ANSWER_BYTES);
  answer.writeUInt32LE(answer.length, 0);
  answer.writeUInt32LE(MAGIC, 4);
  answer.writeUInt32LE(VERSION, 8);
  answer.writeInt32LE(error, 12);
  return answer;
}

/** 0 or a negated errno. Throws {@link FuseServerError} `ERR_FUSE_GREETING`. */
export function decodeAnswer(answer: Buffer): number {
  if (answer.length !== ANSWER_BYTES) throw malformed(`an answer of ${answer.length} bytes`);
  checkVersion(answer);
  return answer.readInt32LE(12);
}

function checkVersion(message: Buffer): void {
  if (message.readUInt32LE(4) !== MAGIC)
    throw malformed("the other end greets in another protocol");
  const version = message.readUInt32LE(8);
  if (version !== VERSION) throw malformed(`the other end greets in version ${version}, not 1`);
}
