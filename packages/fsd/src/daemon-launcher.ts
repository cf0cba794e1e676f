/**
 * The thread that starts a daemon's process: it has the namespaces and bounds that the process inherits, which
 * the caller's own threads must not get.
 *
 * @packageDocumentation
 */
import { launch } from "./daemon/launch.js";

launch();
