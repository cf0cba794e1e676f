import { readFile } from "node:fs/promises";
import { writeInitramfs } from "./cpio.js";

/**
 * The initramfs of a guest: the agent as /init, and the two devices the kernel and the agent open before
 * devtmpfs is mounted.
 *
 * @param agentPath host path of the agent's static executable.
 */
export async function buildInitramfs(agentPath: string): Promise<Uint8Array> {
  return writeInitramfs([
    { path: "dev", type: "directory" },
    { path: "dev/console", type: "character-device", major: 5, minor: 1 },
    { path: "dev/null", type: "character-device", mode: 0o666, major: 1, minor: 3 },
    { path: "init", type: "file", mode: 0o755, data: await readFile(agentPath) },
  ]);
}
