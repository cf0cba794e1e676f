import type { PlainError } from "../../errors.js";
import type {
  LogEntry,
  MachineConfig,
  MachineEvent,
  MachineHealth,
  MachineStatus,
  VmExit,
} from "../config.js";
import type { VmDescription, VmParameters } from "../description.js";
import type { MachineMetrics, MetricsOptions } from "../metrics.js";

/*
 * The control socket of a machine: a Unix socket in its runtime directory, JSON values one a line. The
 * machine's side greets, then answers requests in any order. A stream answers with items before its result;
 * a client gives it a connection of its own, and closes that to end it. Whoever can open the socket, which
 * is its user alone, may do all of it.
 */

/** Changes with anything that an older side would misunderstand. */
export const CONTROL_VERSION = 1;

/** The first line of the machine's side. */
export interface Greeting {
  readonly supermachine: typeof CONTROL_VERSION;
}

/** What can be asked, with its parameters and its answer. */
export interface ControlMethods {
  /** Once, by who started the process. Answers when the guest does. */
  start: { params: StartParams; result: VmDescription };
  describe: { params: null; result: VmDescription };
  status: { params: null; result: MachineStatus };
  health: { params: { timeoutMs: number }; result: MachineHealth };
  pause: { params: null; result: null };
  resume: { params: null; result: null };
  save: { params: { directory: string; base?: string }; result: null };
  revert: { params: null; result: null };
  metrics: { params: MetricsOptions; result: MachineMetrics };
  setMemoryTarget: { params: { memoryMiB: number }; result: null };
  stop: { params: { timeoutMs?: number }; result: VmExit };
  kill: { params: null; result: VmExit };
  /** Answers when the machine has ended. */
  exited: { params: null; result: VmExit };
}

/** What can be followed, with its parameters and its items. */
export interface ControlStreams {
  logs: { params: { since?: number; follow?: boolean; source?: string }; item: LogEntry };
  events: { params: null; item: MachineEvent };
}

/** Parameters of the `start` request. */
export interface StartParams {
  readonly config: MachineConfig;
  readonly vm: VmParameters;
}

/** From the client. Ids are the client's own, one for each request of a connection. */
export interface ControlRequest {
  readonly id: number;
  readonly method: string;
  readonly params: unknown;
}

/** From the machine's side. A stream has items, and at its end a result. */
export type ControlReply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: PlainError }
  | { readonly id: number; readonly item: unknown };

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function isRequest(value: unknown): value is ControlRequest {
  if (!isRecord(value)) return false;
  return Number.isSafeInteger(value["id"]) && typeof value["method"] === "string";
}

export function isGreeting(value: unknown): value is Greeting {
  return isRecord(value) && value["supermachine"] === CONTROL_VERSION;
}

export function isReply(value: unknown): value is ControlReply {
  if (!isRecord(value) || !Number.isSafeInteger(value["id"])) return false;
  const { error } = value;
  if ("result" in value || "item" in value) return true;
  return (
    isRecord(error) && typeof error["code"] === "string" && typeof error["message"] === "string"
  );
}
