import { decodeName, NAME_MAX, nameLength } from "@supermachine/fuse-protocol";
import { PosixBackendError } from "../error.js";
import { ROOT_NODEID } from "../nodes/node-records.js";
import {
  generationOfNodeid,
  isNodeid,
  MAX_GENERATION,
  slotOfNodeid,
} from "../nodes/slot-allocator.js";
import { ByteReader } from "./byte-stream.js";
import { type SavedNode, type SavedNodes, UNKNOWN_TYPE } from "./saved-nodes.js";

const PATH_MAX = 4096;
const LAST_KIND = 3;
const MIN_NODE_BYTES = 8 + 1 + 4;
const MIN_ENTRY_BYTES = 8 + 4 + 8;

function refuse(why: string): never {
  throw new PosixBackendError(
    "ERR_POSIX_NODES",
    `these are not saved nodes of version 1: ${why}; start without them`,
  );
}

/**
 * Checks and reads saved nodes of version 1, of an earlier program, little-endian:
 *
 * ```text
 * "PFSS", u32 1, u64 next nodeid
 * u64 count of nodes, and for each: u64 nodeid, u8 kind 0..3, u32 length and path
 * u64 count of entries, and for each: u64 parent, u32 length and name, u64 child
 * ```
 *
 * Its paths are the host's, from the top. Here they only say which names to look up below the root, one after the
 * other; and what kind a file is of, the file says. It counted no lookups: a node has one for each of its entries.
 * One without entries was removed, and another file may have its path now: it stays gone until the client forgets it.
 *
 * @throws `PosixBackendError` `ERR_POSIX_NODES`.
 */
export function decodeFirstVersion(bytes: Uint8Array): SavedNodes {
  const reader = new ByteReader(bytes.subarray(8), () => refuse("they end too early"));
  const nextNodeid = reader.u64();
  const paths = readPaths(reader);
  const highest = [...paths.keys()].reduce((most, nodeid) => Math.max(most, nodeid), 0);
  if (!Number.isSafeInteger(nextNodeid) || nextNodeid < highest) {
    refuse(`the next node is ${nextNodeid}, and there is a node ${highest}`);
  }
  // A generation above those of all nodeids so far.
  const generationFloor = generationOfNodeid(nextNodeid) + 1;
  if (generationFloor > MAX_GENERATION) refuse(`the next node is ${nextNodeid}`);
  const lookups = readEntries(reader, paths);
  if (!reader.atEnd) refuse("something follows them");
  const rootPath = paths.get(ROOT_NODEID) ?? refuse("there is no root");
  return { rootPath, generationFloor, nodes: treeOf(rootPath, paths, lookups), handles: [] };
}

/** Paths by nodeid. */
function readPaths(reader: ByteReader): Map<number, string> {
  const paths = new Map<number, string>();
  const slots = new Set<number>();
  for (let left = reader.count(MIN_NODE_BYTES); left > 0; left--) {
    const nodeid = reader.u64();
    const kind = reader.u8();
    const length = reader.u32();
    if (!isNodeid(nodeid)) refuse(`${nodeid} is no nodeid`);
    if (slots.has(slotOfNodeid(nodeid))) refuse(`node ${nodeid} comes twice`);
    if (kind > LAST_KIND) refuse(`node ${nodeid} is of the unknown kind ${kind}`);
    if (length === 0 || length >= PATH_MAX) refuse(`a path of ${length} bytes`);
    const path = decodeName(reader.bytes(length));
    if (!path.startsWith("/") || path.includes("\0")) refuse(`node ${nodeid} has no proper path`);
    slots.add(slotOfNodeid(nodeid));
    paths.set(nodeid, path);
  }
  return paths;
}

/** How many entries there are of each node. */
function readEntries(reader: ByteReader, paths: Map<number, string>): Map<number, number> {
  const lookups = new Map<number, number>();
  const known = new Set<string>();
  for (let left = reader.count(MIN_ENTRY_BYTES); left > 0; left--) {
    const parent = reader.u64();
    const name = decodeName(reader.bytes(reader.u32()));
    const child = reader.u64();
    if (!paths.has(parent) || !paths.has(child)) refuse("an entry is of a node that is not there");
    if (!isName(name)) refuse(`node ${child} has no proper name`);
    if (known.has(`${parent}/${name}`)) refuse(`a name in node ${parent} comes twice`);
    known.add(`${parent}/${name}`);
    lookups.set(child, (lookups.get(child) ?? 0) + 1);
  }
  return lookups;
}

/** The root, and every directory before what is in it. What is not below a node that is known has no name. */
function treeOf(
  rootPath: string,
  paths: ReadonlyMap<number, string>,
  lookups: ReadonlyMap<number, number>,
): SavedNode[] {
  const top = rootPath === "/" ? [] : componentsOf(rootPath);
  const byPath = new Map<string, number>([[top.join("/"), ROOT_NODEID]]);
  const below = [...paths]
    .filter(([nodeid]) => nodeid !== ROOT_NODEID)
    .map(([nodeid, path]) => ({ nodeid, components: componentsOf(path) }))
    .sort((a, b) => a.components.length - b.components.length);
  const nodes: SavedNode[] = [
    { nodeid: ROOT_NODEID, type: UNKNOWN_TYPE, lookups: 1, parent: 0, name: "" },
  ];
  for (const { nodeid, components } of below) {
    const isBelow =
      components.length > top.length && top.every((name, i) => name === components[i]);
    if (!isBelow) refuse(`node ${nodeid} is not below the root`);
    const count = lookups.get(nodeid) ?? 0;
    const parent = count === 0 ? 0 : (byPath.get(components.slice(0, -1).join("/")) ?? 0);
    const name = parent === 0 ? "" : (components.at(-1) ?? "");
    nodes.push({ nodeid, type: UNKNOWN_TYPE, lookups: Math.max(count, 1), parent, name });
    if (parent !== 0) byPath.set(components.join("/"), nodeid);
  }
  return nodes;
}

/** The names of an absolute path, each of which must be one. */
function componentsOf(path: string): string[] {
  const components = path.slice(1).split("/");
  if (!components.every(isName)) refuse(`${path} is no plain path`);
  return components;
}

function isName(name: string): boolean {
  const isPlain = name !== "" && name !== "." && name !== ".." && !/[/\0]/.test(name);
  return isPlain && nameLength(name) <= NAME_MAX;
}
