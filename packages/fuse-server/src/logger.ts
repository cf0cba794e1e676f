/** Where a server tells what went wrong. */
export interface Logger {
  /** A backend that threw, a malformed request, a client that was dropped. */
  warn(message: string, cause?: unknown): void;
  /** When present: one line per request and per reply. Slows everything down. */
  trace?(line: string): void;
}

/** Emits warnings on the process, as Node.js does with its own. */
export const processWarnings: Logger = {
  warn(message, cause) {
    const detail = cause instanceof Error ? (cause.stack ?? cause.message) : undefined;
    process.emitWarning(message, { type: "FuseServerWarning", ...(detail && { detail }) });
  },
};
