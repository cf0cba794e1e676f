import { fuse_in_header, fuse_out_header } from "@supermachine/fuse-protocol";
import type { FsBackend, Result } from "../backend.js";
import type { RequestSlot } from "../slot.js";

/** Where the struct of a request starts. */
export const BODY = fuse_in_header.size;
/** Where the body of a reply starts. */
export const REPLY = fuse_out_header.size;

/** How long replies may be cached when the backend does not say. */
export interface Validity {
  readonly entryValidMs: number;
  readonly attrValidMs: number;
}

/** One operation: from its arguments to the backend, and from the backend's result to a reply. */
export interface OperationHandler {
  /** Calls the backend. May throw; nothing is lost then. */
  begin(slot: RequestSlot, backend: FsBackend, validity: Validity): Result;
  /** Writes the body of the reply from {@link REPLY} on and returns its length; or a negated errno. */
  finish(slot: RequestSlot, result: number): number;
  /** The body is file data that already lies in the client's memory. */
  readonly direct?: true;
  /** File data follows the request's struct and stays where it is. */
  readonly dataFollows?: true;
}

/** The reply of operations that only succeed or fail. */
export function finishEmpty(): number {
  return 0;
}
