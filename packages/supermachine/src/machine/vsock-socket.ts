import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { VsockConnector } from "@supermachine/guest";
import { SupermachineError } from "../errors.js";

/*
 * A machine's vsock offered to other processes as Unix sockets, in the manner that hybrid vsock made
 * common: a client of PATH sends "CONNECT <port>\n", reads "OK <port>\n", and is then connected to
 * that port of the guest; a guest that connects to port N of its host reaches the listener on PATH_N.
 */

const MAX_LINE = 32;
const CONNECT = /^CONNECT (\d{1,10})$/;

/** Reads up to and including the first newline; what follows stays in the stream. */
function readLine(stream: Duplex): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = "";
    const finish = (settle: () => void) => {
      stream.off("readable", onReadable).off("error", onEnd).off("close", onEnd).off("end", onEnd);
      settle();
    };
    const onEnd = () => {
      finish(() => reject(new SupermachineError("ERR_VM_STOPPED", "the machine's vsock closed")));
    };
    const onReadable = () => {
      for (let byte = stream.read(1); byte !== null; byte = stream.read(1)) {
        if (byte[0] === 0x0a) {
          finish(() => resolve(line));
          return;
        }
        line += String.fromCharCode(byte[0]);
        if (line.length > MAX_LINE) {
          finish(() => reject(new SupermachineError("ERR_VM_STOPPED", "not a vsock socket")));
          return;
        }
      }
    };
    stream.on("readable", onReadable).on("error", onEnd).on("close", onEnd).on("end", onEnd);
    onReadable();
  });
}

/** Joins two streams; when either fails, both are destroyed. */
function join(a: Duplex, b: Duplex): void {
  const destroy = () => {
    a.destroy();
    b.destroy();
  };
  a.on("error", destroy).on("close", destroy);
  b.on("error", destroy).on("close", destroy);
  a.pipe(b);
  b.pipe(a);
}

function listening(server: Server, path: string): Promise<AddressInfo | string | null> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, () => resolve(server.address()));
  });
}

/** Serves a machine's vsock on `path`; guest connections to `guestPorts` go to `path_<port>`. */
export async function serveVsock(
  vsock: VsockConnector,
  path: string,
  guestPorts: readonly number[],
): Promise<Disposable> {
  const streams = new Set<Duplex>();
  const own = <T extends Duplex>(stream: T): T => {
    streams.add(stream);
    stream.on("close", () => streams.delete(stream));
    return stream;
  };
  const onClient = async (socket: Socket): Promise<void> => {
    own(socket).on("error", () => socket.destroy());
    try {
      const port = CONNECT.exec(await readLine(socket))?.[1];
      if (port === undefined) throw new Error("no CONNECT line");
      const stream = own(await vsock.connect(Number(port)));
      socket.write(`OK ${port}\n`);
      join(socket, stream);
    } catch {
      socket.destroy();
    }
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    void onClient(socket);
  });
  await listening(server, path);
  const listeners = guestPorts.map((port) =>
    vsock.listen(port, (stream) => {
      join(own(stream), own(connect({ path: `${path}_${port}`, allowHalfOpen: true })));
    }),
  );
  return {
    [Symbol.dispose]() {
      server.close();
      for (const listener of listeners) listener[Symbol.dispose]();
      for (const stream of streams) stream.destroy();
    },
  };
}

/** The other side of {@link serveVsock}. */
export class VsockSocket implements VsockConnector {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  async connect(port: number, options: { signal?: AbortSignal } = {}): Promise<Duplex> {
    options.signal?.throwIfAborted();
    const socket = connect({ path: this.#path, allowHalfOpen: true });
    const abort = () => socket.destroy();
    options.signal?.addEventListener("abort", abort);
    try {
      // Until the caller has the stream, readLine() reports its errors.
      socket.on("error", () => {});
      socket.write(`CONNECT ${port}\n`);
      await readLine(socket);
      return socket;
    } catch (error) {
      socket.destroy();
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", abort);
    }
  }

  /** Resolves, through the returned server, when the socket exists: await {@link listenReady}. */
  listen(port: number, onConnection: (stream: Duplex) => void): Disposable {
    const server = createServer({ allowHalfOpen: true }, onConnection);
    server.listen(`${this.#path}_${port}`);
    return { [Symbol.dispose]: () => void server.close() };
  }
}
