import type { SessionInfo } from "@supermachine/fuse-server";
import { SupermachineError } from "../errors.js";

/*
 * What a snapshot keeps of a share: what client and server agreed on in INIT, which comes only once, as JSON
 * after its length as u32; then what `PosixBackend.saveNodes()` gave.
 */

/** `info` is undefined where the guest has not mounted the share. */
export function encodeShareState(info: SessionInfo | undefined, nodes: Uint8Array): Uint8Array {
  const plain = info && { ...info, flags: String(info.flags) };
  const json = Buffer.from(JSON.stringify(plain ?? null));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return Buffer.concat([length, json, nodes]);
}

/** @throws {@link SupermachineError} ERR_SNAPSHOT_CORRUPT for anything that is not such a state. */
export function decodeShareState(state: Uint8Array): {
  info: SessionInfo | undefined;
  nodes: Uint8Array;
} {
  const bytes = Buffer.from(state.buffer, state.byteOffset, state.byteLength);
  const end = bytes.length < 4 ? Number.POSITIVE_INFINITY : 4 + bytes.readUInt32LE();
  if (end > bytes.length) throw damaged();
  const info = parseInfo(bytes.toString("utf8", 4, end));
  return { info, nodes: bytes.subarray(end) };
}

function parseInfo(text: string): SessionInfo | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw damaged();
  }
  if (value === null) return undefined;
  if (typeof value !== "object") throw damaged();
  const { minor, flags, maxWrite, maxReadahead } = value as Record<string, unknown>;
  const count = (field: unknown) => {
    if (typeof field === "number" && Number.isInteger(field) && field >= 0) return field;
    throw damaged();
  };
  if (typeof flags !== "string" || !/^\d{1,20}$/.test(flags)) throw damaged();
  return {
    minor: count(minor),
    flags: BigInt(flags),
    maxWrite: count(maxWrite),
    maxReadahead: count(maxReadahead),
    // Never true of a guest, whatever a snapshot says.
    hostKernel: false,
  };
}

function damaged(): SupermachineError {
  return new SupermachineError(
    "ERR_SNAPSHOT_CORRUPT",
    "the snapshot's state of a share is damaged; make the snapshot anew",
  );
}
