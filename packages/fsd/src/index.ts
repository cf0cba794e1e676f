/**
 * Host directories served to virtual machines over vhost-user, as virtiofsd does, and to programs over a
 * Unix socket.
 *
 * @packageDocumentation
 */
export { FsdError, type FsdErrorCode } from "./error.js";
export {
  type DirectoryServer,
  type ServeDirectoryOptions,
  serveDirectory,
} from "./serve-directory.js";
