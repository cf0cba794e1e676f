import type { VsockStream } from "./vsock-stream.js";

/** Connections by their two ports. */
export class ConnectionTable {
  /** Host port, then guest port. */
  readonly #byPort = new Map<number, Map<number, VsockStream>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(localPort: number, remotePort: number): VsockStream | undefined {
    return this.#byPort.get(localPort)?.get(remotePort);
  }

  hasLocalPort(localPort: number): boolean {
    return this.#byPort.has(localPort);
  }

  add(stream: VsockStream): void {
    const peers = this.#byPort.get(stream.localPort);
    if (peers === undefined) {
      this.#byPort.set(stream.localPort, new Map([[stream.remotePort, stream]]));
    } else {
      peers.set(stream.remotePort, stream);
    }
    this.#size += 1;
  }

  /** Removes this very stream; not a later one with the same ports. */
  delete(stream: VsockStream): void {
    const peers = this.#byPort.get(stream.localPort);
    if (peers?.get(stream.remotePort) !== stream) return;
    peers.delete(stream.remotePort);
    if (peers.size === 0) this.#byPort.delete(stream.localPort);
    this.#size -= 1;
  }

  /** All streams, as a copy that the caller may change the table under. */
  all(): VsockStream[] {
    return [...this.#byPort.values()].flatMap((peers) => [...peers.values()]);
  }
}
