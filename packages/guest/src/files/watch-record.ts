import { decodeName } from "@supermachine-internal/file-name";
import { defineStruct } from "@supermachine-internal/struct";
import { AgentError } from "../errors.js";

/** agent/watch.h */
export const watchRecord = defineStruct("watch_record", 8, { kind: "u32", path_length: "u32" });

/** By their numbers in agent/watch.h. */
export const WATCH_KINDS = [
  "ready",
  "created",
  "modified",
  "removed",
  "attributes",
  "overflow",
] as const;

/** One thing that the agent saw. */
export interface WatchRecord {
  readonly kind: (typeof WATCH_KINDS)[number];
  /** Below the watched path; empty for that itself. */
  readonly path: string;
}

/** Linux knows no longer one. */
const PATH_MAX = 4096;

function malformed(why: string): AgentError {
  return new AgentError("ERR_AGENT_PROTOCOL", `the agent reported a change wrongly: ${why}`);
}

/** Cuts what `watch` prints into records, in memory bounded by one record and the chunk. */
export class WatchRecordDecoder {
  #rest: Buffer = Buffer.alloc(0);

  /**
   * The records that the next bytes complete.
   *
   * @throws {@link AgentError} ERR_AGENT_PROTOCOL for bytes that are none; nothing more can be decoded
   *   then.
   */
  push(chunk: Buffer): WatchRecord[] {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const records: WatchRecord[] = [];
    let start = 0;
    while (bytes.length - start >= watchRecord.size) {
      const kind = WATCH_KINDS[bytes.readUInt32LE(start + watchRecord.offsets.kind)];
      const length = bytes.readUInt32LE(start + watchRecord.offsets.path_length);
      if (kind === undefined || length >= PATH_MAX) throw malformed("no such kind of record");
      const path = start + watchRecord.size;
      if (bytes.length - path < length) break;
      const name = decodeName(bytes, path, path + length);
      // A consumer may join it to a path of its own.
      if (name.startsWith("/") || /(^|\/)\.\.?(\/|$)|\0/.test(name)) {
        throw malformed(`${JSON.stringify(name)} is no path below the watched one`);
      }
      records.push({ kind, path: name });
      start = path + length;
    }
    this.#rest = Buffer.from(bytes.subarray(start));
    return records;
  }
}
