/**
 * The C library calls that more than one package needs, typed, loaded on first use.
 * Private: bundled into the packages that use it.
 *
 * @packageDocumentation
 */
export { check, errnoName, lastErrno, SystemCallError } from "./errno.js";
export { closeFd, EventFd, setNonBlocking, type Watch, watchReadable } from "./fd.js";
export { FileWindow } from "./file-window.js";
export {
  addressOf,
  createMemoryFile,
  MAX_VIEW_LENGTH,
  type MapOptions,
  Mapping,
  viewAt,
} from "./memory.js";
export { cLibrary, lazyFunction, type Pointer } from "./native.js";
export { ResourceStack } from "./resource-stack.js";
export { ScratchDirectory } from "./scratch-directory.js";
export { currentThreadId, signalThread, takeSignal } from "./thread-signal.js";
export { takeShortTurns } from "./time-slice.js";
export { UnixListener, UnixSocket } from "./unix-socket.js";
