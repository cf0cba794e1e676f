import { AgentError } from "./errors.js";

/** Numbers of Linux's resources, setrlimit(2). */
const RESOURCES = {
  cpu: 0,
  fsize: 1,
  data: 2,
  stack: 3,
  core: 4,
  rss: 5,
  nproc: 6,
  nofile: 7,
  memlock: 8,
  as: 9,
  locks: 10,
  sigpending: 11,
  msgqueue: 12,
  nice: 13,
  rtprio: 14,
  rttime: 15,
} as const;

/** Name of a resource, as in setrlimit(2) without `RLIMIT_`: bytes for sizes, seconds for `cpu`. */
export type ResourceName = keyof typeof RESOURCES;

/** One limit for both, or a soft and a hard one; `Infinity` is none. */
export type ResourceLimit = number | { readonly soft: number; readonly hard: number };

/** Limits of a process by resource; what is not named stays as the guest has it. */
export type ResourceLimits = { readonly [Name in ResourceName]?: ResourceLimit };

export const LIMIT_SIZE = 24;
/** RLIM_INFINITY of 64-bit Linux. */
const UNLIMITED = 0xffff_ffff_ffff_ffffn;

/** The limits of an EXEC frame, one after the other. */
export function encodeResourceLimits(limits: ResourceLimits): Buffer {
  const entries = Object.entries(limits);
  const bytes = Buffer.alloc(entries.length * LIMIT_SIZE);
  entries.forEach(([name, limit], index) => {
    const resource = Object.hasOwn(RESOURCES, name) ? RESOURCES[name as ResourceName] : undefined;
    if (resource === undefined) throw invalid(`${name} is no resource; use nofile, nproc, as, ...`);
    const { soft, hard } = typeof limit === "object" ? limit : { soft: limit, hard: limit };
    if (!isAmount(soft) || !isAmount(hard) || soft > hard) {
      throw invalid(`the limit of ${name} is ${soft}, at most ${hard}; give whole numbers`);
    }
    const at = index * LIMIT_SIZE;
    bytes.writeUInt32LE(resource, at);
    bytes.writeBigUInt64LE(amount(soft), at + 8);
    bytes.writeBigUInt64LE(amount(hard), at + 16);
  });
  return bytes;
}

function isAmount(value: number): boolean {
  return value === Number.POSITIVE_INFINITY || (Number.isSafeInteger(value) && value >= 0);
}

function amount(value: number): bigint {
  return value === Number.POSITIVE_INFINITY ? UNLIMITED : BigInt(value);
}

function invalid(message: string): AgentError {
  return new AgentError("ERR_EXEC_INVALID", `exec request: ${message}`);
}
