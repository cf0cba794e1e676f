import { decodeName, NAME_MAX, nameLength, S_IFDIR, writeName } from "@supermachine/fuse-protocol";
import { PosixBackendError } from "../error.js";
import type { OpenHandle } from "../handles/handle-table.js";
import { ROOT_NODEID } from "../nodes/node-records.js";
import { isNodeid, MAX_GENERATION, slotOfNodeid } from "../nodes/slot-allocator.js";
import { ByteReader, ByteWriter } from "./byte-stream.js";

const MAGIC = 0x5353_4650; // "PFSS"
const VERSION = 2;
const PATH_MAX = 4096;
/** Of a node whose type was not saved. */
export const UNKNOWN_TYPE = 0;
const MAX_LOOKUPS = 0xffff_ffff;
const MIN_NODE_BYTES = 8 + 1 + 4 + 8 + 1;
const MIN_HANDLE_BYTES = 8 + 8 + 1 + 4;

/** A node, by the name under which it is found again. */
export interface SavedNode {
  readonly nodeid: number;
  /** The `S_IFMT` bits, or {@link UNKNOWN_TYPE}. */
  readonly type: number;
  readonly lookups: number;
  /** The node of its directory; 0 for the root, and for what has no name any more. */
  readonly parent: number;
  /** Decoded as names are; empty where `parent` is 0. */
  readonly name: string;
}

export type SavedHandle = Omit<OpenHandle, "fd">;

/** What a backend knows of its client, apart from fds. */
export interface SavedNodes {
  /** The host's path of the shared directory. */
  readonly rootPath: string;
  /** New nodes get generations from this one on, so that no nodeid comes twice. */
  readonly generationFloor: number;
  /** The root first, and every directory before what is in it. */
  readonly nodes: readonly SavedNode[];
  readonly handles: readonly SavedHandle[];
}

/**
 * The node table as bytes, little-endian:
 *
 * ```text
 * "PFSS", u32 version, u16 length and root path, u32 generation floor
 * u64 count of nodes, and for each: u64 nodeid, u8 type, u32 lookups, u64 parent, u8 length and name
 * u64 count of handles, and for each: u64 fh, u64 nodeid, u8 1 for a directory, u32 open flags
 * ```
 *
 * Version 1 is that of an earlier program: see `saved-nodes-v1.ts`.
 */
export function encodeNodes(saved: SavedNodes): Uint8Array {
  const writer = new ByteWriter();
  writer.u32(MAGIC);
  writer.u32(VERSION);
  writer.u16(nameLength(saved.rootPath));
  writer.bytes(nameLength(saved.rootPath), (to) => writeName(saved.rootPath, to));
  writer.u32(saved.generationFloor);
  writer.u64(saved.nodes.length);
  for (const node of saved.nodes) {
    writer.u64(node.nodeid);
    writer.u8(node.type >> 12);
    writer.u32(node.lookups);
    writer.u64(node.parent);
    writer.u8(nameLength(node.name));
    writer.bytes(nameLength(node.name), (to) => writeName(node.name, to));
  }
  writer.u64(saved.handles.length);
  for (const handle of saved.handles) {
    writer.u64(handle.fh);
    writer.u64(handle.nodeid);
    writer.u8(handle.isDirectory ? 1 : 0);
    writer.u32(handle.flags);
  }
  return writer.finish();
}

function refuse(why: string): never {
  throw new PosixBackendError(
    "ERR_POSIX_NODES",
    `these are not saved nodes of this version: ${why}; start without them`,
  );
}

/** The version that bytes say they are of; 0 for bytes that say none. */
export function versionOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return bytes.length >= 8 && view.getUint32(0, true) === MAGIC ? view.getUint32(4, true) : 0;
}

/**
 * Checks and reads what {@link encodeNodes} wrote. The bytes may come from anyone: what is returned is a
 * tree of plain names from the root, and no more than the bytes had room for.
 *
 * @throws `PosixBackendError` `ERR_POSIX_NODES`.
 */
export function decodeNodes(bytes: Uint8Array): SavedNodes {
  const reader = new ByteReader(bytes, () => refuse("they end too early"));
  if (reader.u32() !== MAGIC) refuse("they do not begin with PFSS");
  const version = reader.u32();
  if (version !== VERSION) refuse(`they are of version ${version}, not 1 or ${VERSION}`);
  const pathLength = reader.u16();
  if (pathLength === 0 || pathLength >= PATH_MAX) refuse(`a root path of ${pathLength} bytes`);
  const rootPath = textOf(reader.bytes(pathLength));
  const generationFloor = reader.u32();
  if (generationFloor > MAX_GENERATION) refuse(`generations from ${generationFloor} on`);

  const nodes: SavedNode[] = [];
  const types = new Map<number, number>();
  const slots = new Set<number>();
  for (let left = reader.count(MIN_NODE_BYTES); left > 0; left--) {
    const node = {
      nodeid: reader.u64(),
      type: reader.u8() << 12,
      lookups: reader.u32(),
      parent: reader.u64(),
      name: textOf(reader.bytes(reader.u8())),
    };
    checkNode(node, nodes.length === 0, types);
    if (slots.has(slotOfNodeid(node.nodeid))) refuse(`node ${node.nodeid} comes twice`);
    slots.add(slotOfNodeid(node.nodeid));
    types.set(node.nodeid, node.type);
    nodes.push(node);
  }
  if (nodes.length === 0) refuse("there is no root");

  const handles: SavedHandle[] = [];
  const indices = new Set<number>();
  for (let left = reader.count(MIN_HANDLE_BYTES); left > 0; left--) {
    const fh = reader.u64();
    const nodeid = reader.u64();
    const kind = reader.u8();
    const flags = reader.u32();
    const type = types.get(nodeid);
    if (!isNodeid(fh) || indices.has(slotOfNodeid(fh)))
      refuse(`handle ${fh} is none, or comes twice`);
    if (kind > 1) refuse(`a handle of kind ${kind}`);
    if (type === undefined || (type === S_IFDIR) !== (kind === 1)) {
      refuse(`handle ${fh} is of node ${nodeid}, which cannot be open so`);
    }
    indices.add(slotOfNodeid(fh));
    handles.push({ fh, nodeid, isDirectory: kind === 1, flags });
  }
  if (!reader.atEnd) refuse("something follows them");
  return { rootPath, generationFloor, nodes, handles };
}

const SAVED_TYPES: readonly number[] = [1, 2, 4, 6, 8, 10, 12].map((type) => type << 12);

/** That a parent comes before its children makes loops impossible. */
function checkNode(node: SavedNode, isFirst: boolean, types: Map<number, number>): void {
  const { nodeid, type, lookups, parent, name } = node;
  if ((nodeid === ROOT_NODEID) !== isFirst)
    refuse("the root is not the first node, or not the only");
  if (!isNodeid(nodeid)) refuse(`${nodeid} is no nodeid`);
  if (!SAVED_TYPES.includes(type)) refuse(`node ${nodeid} has the unknown type ${type >> 12}`);
  if (lookups === 0 || lookups > MAX_LOOKUPS)
    refuse(`node ${nodeid} was looked up ${lookups} times`);
  if (isFirst && (type !== S_IFDIR || parent !== 0))
    refuse("the root is no directory, or has a parent");
  if (parent === 0) {
    if (name !== "") refuse(`node ${nodeid} has a name, but no directory`);
    return;
  }
  if (types.get(parent) !== S_IFDIR) {
    refuse(`node ${nodeid} is in node ${parent}, which is no directory before it`);
  }
  const isName = name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
  if (!isName || nameLength(name) > NAME_MAX) refuse(`node ${nodeid} has no proper name`);
}

function textOf(bytes: Uint8Array): string {
  return decodeName(bytes);
}
