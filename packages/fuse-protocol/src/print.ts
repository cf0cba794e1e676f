import { decodeName } from "@supermachine-internal/file-name";
import type { Struct } from "@supermachine-internal/struct";
import { fuse_in_header, fuse_out_header } from "./abi/message.js";
import { errnoName } from "./errno.js";
import { operations } from "./operation.js";

/** Padding and the like tell nothing; nested structs are printed as their length. */
const silent = /^(padding|unused\d*|spare|dummy\d*|reserved|lock_owner|__.*)$/;

function printStruct(struct: Struct, bytes: Uint8Array, offset: number): string {
  const whole = new Uint8Array(struct.size);
  whole.set(bytes.subarray(offset, offset + struct.size));
  const fields: string[] = [];
  for (const [name, value] of Object.entries(struct.decode(whole))) {
    if (silent.test(name)) continue;
    fields.push(`${name}=${typeof value === "object" ? `[${value.length} bytes]` : value}`);
  }
  return fields.join(" ");
}

/** One line about a request, for logs: `LOOKUP #6 node 1 "name"`. Never fails, whatever the bytes. */
export function printRequest(bytes: Uint8Array): string {
  if (bytes.length < fuse_in_header.size) return `short request of ${bytes.length} bytes`;
  const header = fuse_in_header.decode(bytes);
  const operation = operations[header.opcode];
  const parts = [
    `${operation?.name ?? `opcode ${header.opcode}`} #${header.unique} node ${header.nodeid}`,
  ];
  let at = fuse_in_header.size;
  if (operation?.request !== undefined && bytes.length > at) {
    parts.push(printStruct(operation.request, bytes, at));
    at += operation.request.size;
  }
  for (let i = 0; i < (operation?.names ?? 0) && at < bytes.length; i++) {
    const nul = bytes.indexOf(0, at);
    const end = nul === -1 ? bytes.length : nul;
    parts.push(JSON.stringify(decodeName(bytes, at, end)));
    at = end + 1;
  }
  if (at < bytes.length) parts.push(`+${bytes.length - at} bytes`);
  return parts.join(" ");
}

/** One line about the reply to `opcode`, for logs: `LOOKUP #6 ENOENT`. Never fails, whatever the bytes. */
export function printReply(opcode: number, bytes: Uint8Array): string {
  if (bytes.length < fuse_out_header.size) return `short reply of ${bytes.length} bytes`;
  const header = fuse_out_header.decode(bytes);
  const operation = operations[opcode];
  const parts = [`${operation?.name ?? `opcode ${opcode}`} #${header.unique}`];
  parts.push(header.error === 0 ? "ok" : errnoName(header.error));
  let at = fuse_out_header.size;
  if (operation?.reply !== undefined && bytes.length > at) {
    parts.push(printStruct(operation.reply, bytes, at));
    at += operation.reply.size;
  }
  if (at < bytes.length) parts.push(`+${bytes.length - at} bytes`);
  return parts.join(" ");
}
