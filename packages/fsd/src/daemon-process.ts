/**
 * The process of a daemon. All its code is in this file: once it is in its sandbox, there is nothing to load.
 *
 * @packageDocumentation
 */
import { runDaemonProcess } from "./daemon/process.js";

runDaemonProcess();
