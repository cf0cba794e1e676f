import { mkdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** Nobody holds a switch for longer: whoever did was killed. */
const ABANDONED_MS = 60_000;

/**
 * Sets a parameter of the host's kernel, a file of sysfs, until it is disposed. Test files run at the same
 * time, so they take turns: one would put back what another has just set.
 */
export async function kernelSwitch(file: string, value: string): Promise<Disposable> {
  const turn = join(tmpdir(), `supermachine-test-${basename(file)}`);
  while (!takeTurn(turn)) await sleep(10);
  const before = readFileSync(file, "latin1").trim();
  writeFileSync(file, value);
  return {
    [Symbol.dispose]() {
      writeFileSync(file, before);
      rmdirSync(turn);
    },
  };
}

function takeTurn(directory: string): boolean {
  try {
    mkdirSync(directory);
    return true;
  } catch {
    const since = statSync(directory, { throwIfNoEntry: false })?.mtimeMs ?? Date.now();
    if (Date.now() - since > ABANDONED_MS) rmdirSync(directory);
    return false;
  }
}
