#!/usr/bin/env node
// @ts-check
// npm run lab -- COMMAND…: run a command on a Linux with a working /dev/kvm, on any x86-64 Debian.
import { mkdir, readFile } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ensureLabKernel } from "./kernel.mjs";
import { Machine } from "./machine.mjs";

const USAGE = `Usage: npm run lab -- [options] COMMAND [ARGUMENT…]

Boots a Debian kernel under QEMU's emulation of an AMD CPU with SVM, with this machine's root
directory below a throw-away overlay, loads kvm-amd and runs COMMAND in the project's root.
Its output, its exit status and nothing else come back. Status 123: the emulated machine froze,
which says nothing about the command.

  --out DIR        a directory whose changes are kept; $SUPERMACHINE_LAB_OUT names it inside
  --stdin          pass standard input on (default: empty)
  --memory MIB     memory of the lab (default 4096)
  --cpus N         CPUs of the lab (default 1; with more it is faster, and freezes now and then)
  --timeout S      end the lab after S seconds, with status 124
  --verbose        show the kernel's console when the lab ends
`;
const PROJECT_ROOT = fileURLToPath(new URL("..", import.meta.url));
const PASSED_ON =
  /^(SUPERMACHINE_.*|CI|PATH|HOME|USER|LANG|LC_.*|TERM|XDG_CACHE_HOME|NO_COLOR|FORCE_COLOR|NODE_OPTIONS)$/;
const STATUS_TIMEOUT = 124; // as timeout(1)
/** The emulated machine froze; what ran in it may be run again. */
const STATUS_FROZEN = 123;
const FROZEN_AFTER_MS = 60_000;
const STATUS_LAB_FAILED = 125; // as docker-run(1): the tool failed, not the command

/** @param {string[]} argv */
function parseCommandLine(argv) {
  // Options end at the first word that is not one: what follows belongs to the command.
  const { tokens } = parseArgs({
    args: argv,
    options: OPTIONS,
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const first = tokens.find((token) => token.kind !== "option");
  const split = first === undefined ? argv.length : first.index;
  const { values } = parseArgs({ args: argv.slice(0, split), options: OPTIONS });
  const rest = argv.slice(split);
  return { values, command: rest[0] === "--" ? rest.slice(1) : rest };
}
const OPTIONS = /** @type {const} */ ({
  out: { type: "string" },
  stdin: { type: "boolean", default: false },
  memory: { type: "string", default: "4096" },
  cpus: { type: "string", default: "1" },
  timeout: { type: "string" },
  verbose: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
});

/** @param {string} text */
const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/**
 * The script that runs as PID 1 in the lab.
 *
 * @param {{ modules: string, out: string, stdin: boolean, command: readonly string[] }} options
 */
async function sessionScript({ modules, out, stdin, command }) {
  const environment = Object.entries(process.env).filter(([name]) => PASSED_ON.test(name));
  environment.push(["SUPERMACHINE_LAB", "1"], ["SUPERMACHINE_LAB_OUT", out]);
  const words = [
    "env",
    "-i",
    ...environment.map(([name, value]) => `${name}=${value}`),
    ...command,
  ];
  return [
    `lab_release=${quote(basename(modules))}`,
    `lab_modules=${quote(modules)}`,
    `lab_out=${quote(out)}`,
    `lab_stdin=${stdin ? 1 : 0}`,
    `lab_command() { cd ${quote(PROJECT_ROOT)} && exec ${words.map(quote).join(" ")}; }`,
    await readFile(new URL("session.sh", import.meta.url), "utf8"),
  ].join("\n");
}

/** @param {string} name @param {string} text */
function positive(name, text) {
  const value = Number(text);
  if (!(Number.isFinite(value) && value > 0))
    throw new Error(`--${name} ${text} is not a number above 0`);
  return value;
}

/** @param {import("node:net").Socket} port */
function readAll(port) {
  let text = "";
  port.setEncoding("latin1").on("data", (chunk) => {
    text += chunk;
  });
  return new Promise((done) => port.once("close", () => done(text)));
}

/** @param {import("node:net").Socket} from @param {NodeJS.WriteStream} to */
function forward(from, to) {
  from.pipe(to, { end: false });
  to.once("error", () => from.resume()); // nobody reads us (`| head`): let the command finish
  return new Promise((done) => from.once("close", done));
}

async function main() {
  const { values, command } = parseCommandLine(process.argv.slice(2));
  if (values.help || command.length === 0) {
    process[values.help ? "stdout" : "stderr"].write(USAGE);
    return values.help ? 0 : STATUS_LAB_FAILED;
  }
  const out = values.out === undefined ? "" : resolve(values.out);
  if (out !== "") await mkdir(out, { recursive: true });
  const memoryMiB = positive("memory", values.memory);
  const cpus = positive("cpus", values.cpus);
  const timeout = values.timeout === undefined ? undefined : positive("timeout", values.timeout);

  const { kernel, initrd, modules } = await ensureLabKernel();
  const machine = await Machine.start({ kernel, initrd, memoryMiB, cpus });
  /** @type {number | undefined} */
  let stopped;
  const stop = (/** @type {number} */ status) => {
    stopped ??= status;
    machine.kill();
  };
  process.once("exit", () => machine.kill());
  process
    .once("SIGINT", () => stop(130))
    .once("SIGTERM", () => stop(143))
    .once("SIGHUP", () => stop(129));
  const timer = timeout && setTimeout(() => stop(STATUS_TIMEOUT), timeout * 1000);

  // With more than one CPU the machine freezes now and then: see `qemuArguments`.
  let watchdog = setTimeout(() => stop(STATUS_FROZEN), FROZEN_AFTER_MS);
  machine.port("heartbeat").on("data", () => {
    clearTimeout(watchdog);
    if (stopped === undefined) watchdog = setTimeout(() => stop(STATUS_FROZEN), FROZEN_AFTER_MS);
  });

  machine.port("session").end(await sessionScript({ modules, out, stdin: values.stdin, command }));
  if (values.stdin) process.stdin.pipe(machine.port("stdin"));
  const streams = Promise.all([
    forward(machine.port("stdout"), process.stdout),
    forward(machine.port("stderr"), process.stderr),
  ]);
  const status = readAll(machine.port("status"));
  machine.port("status").once("data", () => machine.kill());
  await machine.ended;
  machine.kill();
  await streams;
  clearTimeout(watchdog);
  if (timer) clearTimeout(timer);

  if (values.verbose) process.stderr.write(machine.consoleTail);
  if (stopped === STATUS_TIMEOUT)
    process.stderr.write(`lab: ended after ${timeout} s (--timeout)\n`);
  if (stopped === STATUS_FROZEN)
    process.stderr.write(
      `lab: the emulated machine froze: no sign of life for ${FROZEN_AFTER_MS / 1000} s\n`,
    );
  if (stopped !== undefined) return stopped;
  const text = await status;
  if (/^\d+\n$/.test(text)) return Number(text);
  process.stderr.write(
    `lab: the machine ended before the command did. Its console:\n${machine.consoleTail}\n`,
  );
  return STATUS_LAB_FAILED;
}

try {
  process.exit(await main());
} catch (error) {
  process.stderr.write(`lab: ${error instanceof Error ? error.message : error}\n`);
  process.exit(STATUS_LAB_FAILED);
}
