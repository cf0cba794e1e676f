import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { SupermachineError, toPlainError } from "../../errors.js";
import { JsonLines } from "./json-lines.js";
import {
  CONTROL_VERSION,
  type ControlReply,
  type Greeting,
  isRecord,
  isRequest,
} from "./protocol.js";

const MAX_CONNECTIONS = 256;
/** Requests that one connection may have open. */
const MAX_REQUESTS = 256;
/** How long clients may take to fetch the last answers when the machine has ended. */
const CLOSE_TIMEOUT_MS = 500;

/** What the machine's side does, by the names of requests. Parameters are as foreign as the client. */
export interface ControlHandler {
  /** Answers a request; rejects for one that cannot be done. */
  request(method: string, params: Record<string, unknown>): Promise<unknown>;
  /** The items of a stream, or `undefined` when there is none of that name. */
  stream(
    name: string,
    params: Record<string, unknown>,
    signal: AbortSignal,
  ): AsyncIterable<unknown> | undefined;
}

/** Serves the control socket of one machine. */
export class ControlServer {
  readonly #server: Server;
  readonly #connections = new Set<Connection>();

  private constructor(handler: ControlHandler) {
    this.#server = createServer((socket) => {
      const connection = new Connection(socket, handler);
      this.#connections.add(connection);
      socket.once("close", () => this.#connections.delete(connection));
    });
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  static async listen(path: string, handler: ControlHandler): Promise<ControlServer> {
    const server = new ControlServer(handler);
    server.#server.listen(path);
    await once(server.#server, "listening");
    return server;
  }

  /** Takes no more requests, and resolves when the clients have the answers to the ones before. */
  async close(): Promise<void> {
    this.#server.close();
    // What has just been settled is answered first.
    await new Promise((resolve) => setImmediate(resolve));
    await Promise.all([...this.#connections].map((connection) => connection.end()));
  }
}

/** One client. What it does wrong ends its connection and nothing else. */
class Connection {
  readonly #socket: Socket;
  readonly #handler: ControlHandler;
  readonly #open = new Map<number, AbortController>();
  #drained: Promise<void> | undefined;

  constructor(socket: Socket, handler: ControlHandler) {
    this.#socket = socket;
    this.#handler = handler;
    const lines = new JsonLines((value) => this.#onRequest(value));
    socket.on("data", (bytes) => {
      try {
        lines.push(bytes);
      } catch {
        socket.destroy();
      }
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      for (const request of this.#open.values()) request.abort();
    });
    void this.#send({ supermachine: CONTROL_VERSION });
  }

  async end(): Promise<void> {
    if (this.#socket.destroyed) return;
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_TIMEOUT_MS);
    const closed = once(this.#socket, "close");
    this.#socket.end();
    await closed;
    clearTimeout(timer);
  }

  #onRequest(value: unknown): void {
    if (!isRequest(value)) throw new SyntaxError("not a request");
    const { id, method, params } = value;
    if (this.#open.has(id) || this.#open.size >= MAX_REQUESTS) {
      throw new SyntaxError("an id that is in use, or too many requests at once");
    }
    const cancelled = new AbortController();
    this.#open.set(id, cancelled);
    void this.#answer(id, method, isRecord(params) ? params : {}, cancelled.signal);
  }

  async #answer(
    id: number,
    method: string,
    params: Record<string, unknown>,
    signal: AbortSignal,
  ): Promise<void> {
    try {
      const items = this.#handler.stream(method, params, signal);
      if (items === undefined) {
        const result = (await this.#handler.request(method, params)) ?? null;
        await this.#send({ id, result });
      } else {
        // One item at a time: a client that does not read holds up nobody but itself.
        for await (const item of items) {
          await this.#send({ id, item });
        }
        await this.#send({ id, result: null });
      }
    } catch (error) {
      await this.#send({ id, error: toPlainError(error) });
    } finally {
      this.#open.delete(id);
    }
  }

  /** Resolves when there is room for more, or nobody to send it to. */
  async #send(message: ControlReply | Greeting): Promise<void> {
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (this.#socket.write(`${JSON.stringify(message)}\n`)) return;
    this.#drained ??= new Promise((resolve) => {
      const settle = () => {
        this.#socket.off("drain", settle).off("close", settle);
        this.#drained = undefined;
        resolve();
      };
      this.#socket.on("drain", settle).on("close", settle);
    });
    await this.#drained;
  }
}

/** The parameter `name`, or undefined when it is missing. Throws ERR_OPTION for one that is no number. */
export function numberParameter(params: Record<string, unknown>, name: string): number | undefined {
  const value = params[name];
  if (value === undefined || (typeof value === "number" && value >= 0)) return value;
  throw new SupermachineError("ERR_OPTION", `${name} is no number of 0 or more`);
}

/** The parameter `name`, or undefined when it is missing. Throws ERR_OPTION for one that is no string. */
export function stringParameter(params: Record<string, unknown>, name: string): string | undefined {
  const value = params[name];
  if (value === undefined || typeof value === "string") return value;
  throw new SupermachineError("ERR_OPTION", `${name} is no string`);
}
