import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";

/*
 * Each machine keeps its sockets in a private directory named after the process that owns it, so
 * that what a killed process left can be told from what is in use, and removed by the next one.
 */

const NAME = /^(\d+)-(\d+)-/;

function root(): string {
  const base = process.env["XDG_RUNTIME_DIR"];
  return base === undefined || base === ""
    ? join(tmpdir(), `supermachine-${userInfo().uid}`)
    : join(base, "supermachine");
}

/** When a process started, in clock ticks since boot (proc(5), field 22), or undefined without one. */
function startTime(pid: number): string | undefined {
  try {
    // The command name, field 2, may hold spaces and parentheses: count from its last ")".
    const fields = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ");
    return fields?.[19];
  } catch {
    return undefined;
  }
}

/** Removes directories whose owner no longer exists. */
function sweep(directory: string): void {
  for (const entry of readdirSync(directory)) {
    const [, pid, started] = NAME.exec(entry) ?? [];
    if (pid === undefined || startTime(Number(pid)) === started) continue;
    rmSync(join(directory, entry), { recursive: true, force: true });
  }
}

/** A directory that only this user can enter, for the sockets of one machine; removed on dispose. */
export class RuntimeDirectory implements Disposable {
  readonly path: string;

  constructor() {
    const directory = root();
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(directory);
    if (uid !== userInfo().uid || (mode & 0o077) !== 0) {
      throw new Error(`${directory} is open to other users; remove it or set XDG_RUNTIME_DIR`);
    }
    sweep(directory);
    const started = startTime(process.pid) ?? "0";
    this.path = mkdtempSync(join(directory, `${process.pid}-${started}-`));
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
