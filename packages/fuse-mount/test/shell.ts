import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);

/**
 * Runs a script in a directory. This process serves the mount, so it must not wait for it: not even with
 * `cwd`, since starting a child waits until the child has changed directory.
 */
export async function shell(script: string, directory: string): Promise<string> {
  const env = { ...process.env, HOME: "/nonexistent", GIT_CONFIG_NOSYSTEM: "1", LC_ALL: "C" };
  const inside = `cd "$0"\n${script}`;
  const { stdout } = await run("bash", ["-euo", "pipefail", "-c", inside, directory], { env });
  return stdout;
}
