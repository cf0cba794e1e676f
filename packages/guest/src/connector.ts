import type { Duplex } from "node:stream";

/**
 * The host's end of a guest's vsock device, by whatever transport a machine offers it. A stream must end or
 * fail when the guest resets the connection and when the machine ends.
 */
export interface VsockConnector {
  /**
   * Connects to a port of the guest. Rejects when nobody listens there. The error's `code` ends in `_TIMEOUT` when
   * the guest does not answer, and in `_TOO_MANY_CONNECTIONS` when there is no room for another one.
   */
  connect(port: number, options?: { signal?: AbortSignal }): Promise<Duplex>;
  /** Accepts connections of the guest to a port of the host (CID 2) until disposed. */
  listen(port: number, onConnection: (stream: Duplex) => void): Disposable;
}
