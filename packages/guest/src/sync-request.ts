import { randomBytes } from "node:crypto";
import { AgentError } from "./errors.js";

/** What a guest is given that only its host knows. Whatever is not given stays as it is, unless stated. */
export interface SyncOptions {
  /** The wall clock, in milliseconds since 1970; the host's unless given. The monotonic clock goes on as it was. */
  readonly time?: number;
  /**
   * Mixed into the kernel's random numbers at once, and credited: at most 256 bytes that nobody else knows.
   * 64 random ones unless given.
   */
  readonly entropy?: Uint8Array;
  /** Host name, at most 64 bytes. A /etc/hosts that the agent has written follows. */
  readonly hostname?: string;
  /**
   * Content of /etc/machine-id, 32 lower-case hexadecimal digits: machine-id(5). Written where the guest has
   * none, or to a copy.
   */
  readonly machineId?: string;
  /**
   * The guest may be one of several with the same past, as after a restore: it gets `machineId` although it
   * has one, and a new boot id.
   */
  readonly copy?: boolean;
}

const ENTROPY_BYTES = 64;
const ENTROPY_MAX = 256;
/** HOST_NAME_MAX of Linux. */
const HOSTNAME_MAX = 64;
const FIXED = 16;
/** `enum sync_flags` of agent/sync.h. */
const SYNC_COPY = 1;

/** A new machine id: 32 hexadecimal digits that are also a random UUID, as machine-id(5) advises. */
export function randomMachineId(): string {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x40, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString("hex");
}

/**
 * The payload of SYNC: `struct sync_request` of agent/sync.h.
 *
 * @throws {@link AgentError} ERR_AGENT_OPTION for an option out of its range.
 */
export function encodeSyncRequest(options: SyncOptions): Buffer {
  const { time = Date.now(), entropy = randomBytes(ENTROPY_BYTES), copy = false } = options;
  const { hostname = "", machineId = "" } = options;
  if (!(time >= 0 && time < 2 ** 43)) throw invalid(`a time of ${time} ms since 1970`);
  if (entropy.length > ENTROPY_MAX) throw invalid(`${entropy.length} bytes of entropy, over 256`);
  if (Buffer.byteLength(hostname) > HOSTNAME_MAX || hostname.includes("\0")) {
    throw invalid(`the host name ${JSON.stringify(hostname)}, not 64 bytes without NUL`);
  }
  if (machineId !== "" && !/^[0-9a-f]{32}$/.test(machineId)) {
    throw invalid(
      `the machine id ${JSON.stringify(machineId)}, not 32 lower-case hexadecimal digits`,
    );
  }
  const fixed = Buffer.alloc(FIXED);
  fixed.writeBigUInt64LE(BigInt(Math.round(time * 1000)) * 1000n);
  fixed.writeUInt32LE(copy ? SYNC_COPY : 0, 8);
  fixed.writeUInt32LE(entropy.length, 12);
  return Buffer.concat([fixed, entropy, Buffer.from(`${hostname}\0${machineId}\0`)]);
}

function invalid(what: string): AgentError {
  return new AgentError("ERR_AGENT_OPTION", `the guest cannot be given ${what}`);
}
