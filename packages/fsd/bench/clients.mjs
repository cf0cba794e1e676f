// @ts-check
// node bench/clients.mjs [SECONDS [CLIENTS]]: many clients of one server at once, of which one after the other is
// killed in the middle of something and replaced. Nothing that was answered may be lost, and nothing leak.
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const CLIENT = fileURLToPath(new URL("client.mjs", import.meta.url));
const KILL_EVERY_MS = 150;

/**
 * @typedef {object} Result
 * @property {number} operations by clients that ended in peace
 * @property {number} kills
 * @property {number} files found whole afterwards
 * @property {string[]} mistakes
 * @property {{ clients: number, openFiles: number, inodes: number }} left what the server still holds
 * @property {number} descriptorsLeft more than before
 * @property {number} memoryMiB of the serving process
 */

/**
 * @param {typeof import("../src/index.js").serveRoots} serveRoots
 * @param {{ seconds: number, clients: number }} options
 * @returns {Promise<Result>}
 */
export async function runClients(serveRoots, { seconds, clients }) {
  const directory = mkdtempSync(join(tmpdir(), "supermachine-clients-"));
  const socketPath = join(directory, "roots.sock");
  const roots = { even: { dir: join(directory, "even") }, odd: { dir: join(directory, "odd") } };
  for (const { dir } of Object.values(roots)) mkdirSync(dir);
  /** @type {string[]} */
  const mistakes = [];
  const before = { descriptors: 0 };
  let operations = 0;
  let kills = 0;
  let started = 0;
  /** @type {Map<import("node:child_process").ChildProcess, Promise<unknown>>} */
  const running = new Map();
  try {
    const logger = { warn: () => {} };
    // A first server opens what the event loop and the C library keep.
    await (await serveRoots({ socketPath, roots, logger })).close();
    before.descriptors = descriptors();
    const server = await serveRoots({ socketPath, roots, logger, stallMs: 5000 });
    const start = () => {
      const root = started % 2 === 0 ? "even" : "odd";
      const child = fork(CLIENT, [socketPath, root, `client-${started++}`], {
        // Not the options of a test runner.
        execArgv: [],
        stdio: ["ignore", "ignore", "pipe", "ipc"],
      });
      let errors = "";
      child.stderr?.on("data", (text) => {
        errors = `${errors}${text}`.slice(-2000);
      });
      const ended = new Promise((resolve) => {
        child.on("message", (/** @type {{ operations?: number, mistake?: string }} */ message) => {
          operations += message.operations ?? 0;
          if (message.mistake !== undefined) mistakes.push(message.mistake);
        });
        child.once("close", (code, signal) => {
          running.delete(child);
          if (signal === null && code !== 0)
            mistakes.push(`a client ended with status ${code}: ${errors}`);
          resolve(undefined);
        });
      });
      running.set(child, ended);
    };
    for (let i = 0; i < clients; i++) start();
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end) {
      await sleep(KILL_EVERY_MS);
      const all = [...running.keys()];
      const victim = all[Math.floor(Math.random() * all.length)];
      if (victim?.kill("SIGKILL")) kills++;
      await sleep(0);
      while (running.size < clients) start();
    }
    for (const child of running.keys()) child.send("stop", () => {});
    await Promise.all(running.values());
    for (let i = 0; i < 100 && server.usage.clients > 0; i++) await sleep(20);
    const left = server.usage;
    const memoryMiB = Math.round(process.memoryUsage.rss() / 2 ** 20);
    await server.close();
    const files = Object.values(roots).flatMap(({ dir }) => wholeFiles(dir, mistakes)).length;
    const descriptorsLeft = descriptors() - before.descriptors;
    return { operations, kills, files, mistakes, left, descriptorsLeft, memoryMiB };
  } finally {
    for (const child of running.keys()) child.kill("SIGKILL");
    await Promise.all(running.values());
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Whether the client can be started: it uses the built packages. */
export function clientsCanRun() {
  return existsSync(new URL("../../fuse-server/dist/index.js", import.meta.url));
}

function descriptors() {
  return readdirSync("/proc/self/fd").length;
}

/**
 * @param {string} root
 * @param {string[]} mistakes
 */
function wholeFiles(root, mistakes) {
  return readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) => {
    const [, hash] = /([0-9a-f]{64})-done$/.exec(path) ?? [];
    if (hash === undefined) return false;
    const found = createHash("sha256")
      .update(readFileSync(join(root, path)))
      .digest("hex");
    if (found !== hash) mistakes.push(`${path} has another content than was written`);
    return true;
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { serveRoots } = await import("@supermachine/fsd");
  const seconds = Number(process.argv[2] ?? "120");
  const result = await runClients(serveRoots, {
    seconds,
    clients: Number(process.argv[3] ?? "24"),
  });
  process.stdout.write(`${JSON.stringify(result, undefined, 2)}\n`);
  if (result.mistakes.length > 0 || result.left.clients > 0) process.exitCode = 1;
}
