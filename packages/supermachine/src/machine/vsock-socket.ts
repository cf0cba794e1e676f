import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { VsockConnector } from "@supermachine/guest";
import { SupermachineError, toPlainError } from "../errors.js";

/*
 * A machine's vsock offered to other processes as a Unix socket, in the manner that hybrid vsock made
 * common: a client sends "CONNECT <port>\n", reads "OK <port>\n", and is then connected to that port
 * of the guest; or reads "ERROR <code>\n", with the code of the error, before the end.
 */

const MAX_LINE = 64;
const CONNECT = /^CONNECT (\d{1,10})$/;
const REFUSED = /^ERROR ([A-Z_]{1,50})$/;

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

/** Serves a machine's vsock on `path`. */
export async function serveVsock(
  vsock: Pick<VsockConnector, "connect">,
  path: string,
): Promise<Disposable> {
  const streams = new Set<Duplex>();
  const own = <T extends Duplex>(stream: T): T => {
    streams.add(stream);
    stream.on("close", () => streams.delete(stream));
    return stream;
  };
  const onClient = async (socket: Socket): Promise<void> => {
    const gone = new AbortController();
    own(socket).on("error", () => socket.destroy());
    socket.on("close", () => gone.abort());
    try {
      const port = CONNECT.exec(await readLine(socket))?.[1];
      if (port === undefined) throw new Error("no CONNECT line");
      const stream = own(await vsock.connect(Number(port), { signal: gone.signal }));
      if (socket.destroyed) {
        stream.destroy();
        return;
      }
      socket.write(`OK ${port}\n`);
      join(socket, stream);
    } catch (error) {
      socket.end(`ERROR ${toPlainError(error).code}\n`, () => socket.destroy());
    }
  };
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    void onClient(socket);
  });
  await listening(server, path);
  return {
    [Symbol.dispose]() {
      server.close();
      for (const stream of streams) stream.destroy();
    },
  };
}

/** The other side of {@link serveVsock}. */
export class VsockSocket {
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
      const [, code] = REFUSED.exec(await readLine(socket)) ?? [];
      if (code !== undefined) {
        throw new SupermachineError(code, `the guest's vsock port ${port} cannot be reached`);
      }
      return socket;
    } catch (error) {
      socket.destroy();
      options.signal?.throwIfAborted();
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", abort);
    }
  }
}
