import { takeShortTurns } from "@supermachine-internal/libc";
import { limitCapabilities } from "../sandbox/capabilities.js";
import { closeInheritedFiles, makeRoomForFiles } from "../sandbox/descriptors.js";
import { filterSystemCalls } from "../sandbox/seccomp.js";
import { changeDirectory, chroot } from "../sandbox/system-calls.js";
import { type DirectoryServer, serveDirectory } from "../serve-directory.js";
import type { DaemonPlan, FromDaemon, LogLevel, ToDaemon } from "./messages.js";
import { practiseServing } from "./practice.js";
import { PracticeQueue } from "./practice-queue.js";

/** The IPC channel of Node.js and the socket to listen on, as the launcher passes them. */
export const IPC_FD = 3;
export const SOCKET_FD = 4;

/** Serves as the launcher says, until the launcher is gone. */
export function runDaemonProcess(): void {
  let plan: DaemonPlan | undefined;
  // The launcher's end is this one's end, also when it was killed.
  process.on("disconnect", () => process.exit(0));
  // The first process of a namespace does not get signals that it has no handler for.
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => process.exit(0));
  process.on("message", (message: ToDaemon) => {
    if (message.type === "prepare") {
      plan = message.plan;
      prepare();
    } else if (plan !== undefined) {
      serve(plan, message.sharedDir).catch(fail);
    }
  });
}

function send(message: FromDaemon): void {
  process.send?.(message);
}

function log(level: LogLevel, message: string): void {
  send({ type: "log", level, message });
}

function prepare(): void {
  const closed = closeInheritedFiles(new Set([0, 1, 2, IPC_FD, SOCKET_FD]));
  if (closed.length > 0) log("debug", `closed inherited files: ${closed.join(", ")}`);
  practiseServing((session) => new PracticeQueue(session));
  send({ type: "prepared" });
}

async function serve(plan: DaemonPlan, sharedDir: string): Promise<void> {
  process.on("warning", ({ message }) => log("warn", message));
  makeRoomForFiles();
  takeShortTurns();
  const server = await serveDirectory({
    ...plan.serve,
    sharedDir,
    socketFd: SOCKET_FD,
    logger: {
      warn: (message, cause) => log("warn", withCause(message, cause)),
      ...(plan.trace ? { trace: (line: string) => log("trace", line) } : {}),
    },
  });
  if (plan.sandbox === "chroot") {
    chroot(sharedDir);
    changeDirectory("/");
  }
  limitCapabilities(new Set(plan.capabilities));
  filterSystemCalls(plan.seccomp);
  send({ type: "serving" });
  await serveMachines(server, plan.exitOnDisconnect);
}

async function serveMachines(server: DirectoryServer, onlyOne: boolean): Promise<void> {
  do {
    const reason = await server.disconnected();
    log(
      "info",
      reason === undefined ? "the machine has disconnected" : `dropped: ${reason.message}`,
    );
  } while (!onlyOne);
  await server.close();
  process.exit(0);
}

function withCause(message: string, cause: unknown): string {
  return cause === undefined ? message : `${message}: ${String(cause)}`;
}

function fail(error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? String(error.code) : "ERR_FSD_DAEMON";
  process.send?.({ type: "failed", code, message } satisfies FromDaemon, () => process.exit(1));
}
