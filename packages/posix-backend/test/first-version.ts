import { nameLength, writeName } from "@supermachine/fuse-protocol";
import { ByteWriter } from "../src/snapshot/byte-stream.js";

/** Saved nodes of version 1, as an earlier program wrote them. */
export interface FirstVersion {
  readonly next: number;
  readonly nodes: readonly (readonly [nodeid: number, kind: number, path: string])[];
  readonly entries: readonly (readonly [parent: number, name: string, child: number])[];
}

export function encodeFirstVersion({ next, nodes, entries }: FirstVersion): Uint8Array {
  const writer = new ByteWriter();
  const text = (name: string) => {
    writer.u32(nameLength(name));
    writer.bytes(nameLength(name), (to) => writeName(name, to));
  };
  writer.u32(0x5353_4650);
  writer.u32(1);
  writer.u64(next);
  writer.u64(nodes.length);
  for (const [nodeid, kind, path] of nodes) {
    writer.u64(nodeid);
    writer.u8(kind);
    text(path);
  }
  writer.u64(entries.length);
  for (const [parent, name, child] of entries) {
    writer.u64(parent);
    text(name);
    writer.u64(child);
  }
  return writer.finish();
}
