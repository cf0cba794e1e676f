import { FsdError } from "./error.js";

/** Throws {@link FsdError} `ERR_FSD_PLATFORM` elsewhere. */
export function requireLinux(): void {
  if (process.platform === "linux") return;
  throw new FsdError("ERR_FSD_PLATFORM", `this needs Linux, and is ${process.platform}`);
}
