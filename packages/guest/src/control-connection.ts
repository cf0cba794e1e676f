import type { Duplex } from "node:stream";
import { AgentError } from "./errors.js";
import { encodeFrame, FrameDecoder, FrameType, PROTOCOL_VERSION } from "./frames.js";
import { encodeSyncRequest, type SyncOptions } from "./sync-request.js";

const ANSWER_TIMEOUT_MS = 5000;
/** `enum hello_flags` of agent/frame.h. */
const HELLO_FROZEN = 1;
/** Linux's, wherever this runs. */
const ENODATA = 61;

/** What the agent says once the guest is ready. Times are milliseconds since the guest's kernel started. */
export interface Hello {
  version: number;
  /** When the agent was started, which is when the kernel had booted. */
  agentStartMs: number;
  /** When root, mounts and names were set up. */
  readyMs: number;
  /** The processes of the guest are stopped: a snapshot was being taken, or this is a machine restored from one. */
  frozen: boolean;
}

interface Waiter {
  type: number;
  resolve: (payload: Buffer) => void;
  reject: (error: Error) => void;
}

/** The agent's control connection: hello, then requests and their answers. Those of one kind come in order. */
export class ControlConnection {
  readonly hello: Hello;
  readonly #stream: Duplex;
  readonly #waiters: Waiter[];
  /** Settles when the connection is gone, whoever ended it. Never rejects. */
  readonly closed: Promise<void>;

  private constructor(stream: Duplex, hello: Hello, waiters: Waiter[], closed: Promise<void>) {
    this.#stream = stream;
    this.hello = hello;
    this.#waiters = waiters;
    this.closed = closed;
  }

  /** Takes over a stream and waits for its HELLO; destroys the stream when that does not come. */
  static async open(stream: Duplex, signal?: AbortSignal): Promise<ControlConnection> {
    const waiters: Waiter[] = [];
    const onAbort = () => stream.destroy();
    signal?.addEventListener("abort", onAbort, { once: true });
    const closed = new Promise<void>((resolve) => {
      const lose = (cause?: Error) => {
        const error = new AgentError("ERR_AGENT_GONE", "the agent closed its control connection", {
          cause,
        });
        for (const waiter of waiters.splice(0)) waiter.reject(error);
        stream.destroy();
        resolve();
      };
      const decoder = new FrameDecoder((type, payload) => {
        const failed = type === FrameType.FAILED;
        const index = waiters.findIndex((each) => failed || each.type === type);
        const waiter = index < 0 ? undefined : waiters.splice(index, 1)[0];
        if (failed) {
          waiter?.reject(new AgentError("ERR_AGENT_BOOT", `guest: ${payload.toString("utf8")}`));
        } else if (waiter !== undefined) {
          waiter.resolve(payload);
        } else {
          const error = new AgentError(
            "ERR_AGENT_PROTOCOL",
            `the agent sent frame type 0x${type.toString(16)} on its control connection unasked`,
          );
          for (const each of waiters.splice(0)) each.reject(error);
          throw error;
        }
      });
      stream.on("data", (chunk: Buffer) => {
        try {
          decoder.push(chunk);
        } catch (error) {
          lose(error as Error);
        }
      });
      stream.on("error", lose);
      stream.on("end", () => lose());
      stream.on("close", () => lose());
    });
    try {
      const payload = await new Promise<Buffer>((resolve, reject) => {
        waiters.push({ type: FrameType.HELLO, resolve, reject });
        if (signal?.aborted) onAbort();
      });
      return new ControlConnection(stream, decodeHello(payload), waiters, closed);
    } catch (error) {
      stream.destroy();
      throw error;
    } finally {
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async ping(timeoutMs: number): Promise<number> {
    const started = performance.now();
    await this.#ask(FrameType.PING, Buffer.alloc(8), FrameType.PONG, timeoutMs);
    return performance.now() - started;
  }

  async sync(options: SyncOptions): Promise<void> {
    await this.#ask(
      FrameType.SYNC,
      encodeSyncRequest(options),
      FrameType.SYNCED,
      ANSWER_TIMEOUT_MS,
    );
  }

  async freeze(timeoutMs: number): Promise<void> {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(timeoutMs);
    const patience = timeoutMs + ANSWER_TIMEOUT_MS;
    const answer = await this.#ask(FrameType.FREEZE, payload, FrameType.FROZEN, patience);
    const errno = answer.length < 4 ? ENODATA : answer.readUInt32LE(0);
    if (errno === 0) return;
    throw new AgentError(
      "ERR_AGENT_FREEZE",
      `the guest cannot be frozen: ${answer.toString("utf8", 4)}; its processes run on`,
      { errno },
    );
  }

  async thaw(): Promise<void> {
    await this.#ask(FrameType.THAW, Buffer.alloc(0), FrameType.THAWED, ANSWER_TIMEOUT_MS);
  }

  async shutdown(graceMs: number): Promise<void> {
    const grace = Math.min(60_000, Math.max(0, Math.round(graceMs)));
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(grace);
    this.#stream.write(encodeFrame(FrameType.SHUTDOWN, payload));
    await within(this.closed, grace + 5000, "end");
  }

  close(): void {
    this.#stream.destroy();
  }

  async #ask(type: number, payload: Buffer, answer: number, timeoutMs: number): Promise<Buffer> {
    if (this.#stream.destroyed) {
      throw new AgentError("ERR_AGENT_GONE", "the agent is not connected");
    }
    const answered = new Promise<Buffer>((resolve, reject) => {
      this.#waiters.push({ type: answer, resolve, reject });
    });
    this.#stream.write(encodeFrame(type, payload));
    return within(answered, timeoutMs, "answer");
  }
}

function decodeHello(payload: Buffer): Hello {
  const version = payload.length >= 4 ? payload.readUInt32LE(0) : 0;
  if (version !== PROTOCOL_VERSION || payload.length < 24) {
    throw new AgentError(
      "ERR_AGENT_VERSION",
      `the agent speaks protocol version ${version}, this package ${PROTOCOL_VERSION}: build the agent of this package and boot with it`,
    );
  }
  return {
    version,
    agentStartMs: Number(payload.readBigUInt64LE(8)) / 1e6,
    readyMs: Number(payload.readBigUInt64LE(16)) / 1e6,
    frozen: (payload.readUInt32LE(4) & HELLO_FROZEN) !== 0,
  };
}

async function within<T>(result: Promise<T>, timeoutMs: number, verb: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new AgentError("ERR_AGENT_TIMEOUT", `the agent did not ${verb} within ${timeoutMs} ms`),
        ),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([result, late]);
  } finally {
    clearTimeout(timer);
  }
}
