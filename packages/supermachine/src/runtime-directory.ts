import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { basename, join } from "node:path";

/*
 * Each machine keeps its sockets in a private directory named after the process that runs it, so that
 * what a killed process left can be told from what is in use, and removed by the next one.
 */

const NAME = /^(\d+)-(\d+)-([0-9a-f]+)$/;
const ID_BYTES = 6;

/** A runtime directory whose process is alive. */
export interface RuntimeEntry {
  readonly path: string;
  readonly id: string;
  readonly pid: number;
}

function root(): string {
  const base = process.env["XDG_RUNTIME_DIR"];
  return base === undefined || base === ""
    ? join(tmpdir(), `supermachine-${userInfo().uid}`)
    : join(base, "supermachine");
}

/**
 * When a process started, in clock ticks since boot (proc(5), field 22), or undefined without one. Where there
 * is no /proc, a number that has been used again passes for the process that had it before.
 *
 * @throws Error when the system does not tell: nobody may take the process for dead then.
 */
function startTime(pid: number): string | undefined {
  if (process.platform !== "linux") return exists(pid) ? "0" : undefined;
  try {
    // The command name, field 2, may hold spaces and parentheses: count from its last ")".
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ");
    const [state] = fields ?? [];
    // A zombie has ended: only its parent has not looked yet.
    return state === "Z" || state === "X" ? undefined : fields?.[19];
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ESRCH") return undefined;
    throw error;
  }
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // It is there, and another user's.
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

function entryOf(path: string): { entry: RuntimeEntry; alive: boolean } | undefined {
  const [, pid, started, id = ""] = NAME.exec(basename(path)) ?? [];
  if (pid === undefined) return undefined;
  const alive = startTime(Number(pid)) === started;
  return { entry: { path, id, pid: Number(pid) }, alive };
}

/** The directories of living processes, after what dead ones left has been removed. */
export function runtimeEntries(): RuntimeEntry[] {
  const directory = root();
  const live: RuntimeEntry[] = [];
  for (const name of listing(directory)) {
    const found = entryOf(join(directory, name));
    if (found === undefined) continue;
    if (found.alive) live.push(found.entry);
    else rmSync(found.entry.path, { recursive: true, force: true });
  }
  return live;
}

function listing(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    // Made with the first machine.
    return [];
  }
}

/** Kills the process whose directory this is, if it still is. */
export function endOwner(path: string): void {
  const found = entryOf(path);
  if (found?.alive && existsSync(path)) process.kill(found.entry.pid, "SIGKILL");
}

/** A directory that only this user can enter, for the sockets of one machine; removed on dispose. */
export class RuntimeDirectory implements Disposable {
  readonly path: string;
  /** 12 hexadecimal digits, unique on this host. */
  readonly id: string;

  constructor() {
    const directory = root();
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(directory);
    if (uid !== userInfo().uid || (mode & 0o077) !== 0) {
      throw new Error(`${directory} is open to other users; remove it or set XDG_RUNTIME_DIR`);
    }
    runtimeEntries();
    this.id = randomBytes(ID_BYTES).toString("hex");
    const started = startTime(process.pid) ?? "0";
    this.path = join(directory, `${process.pid}-${started}-${this.id}`);
    mkdirSync(this.path, { mode: 0o700 });
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
