import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { requireFacility } from "@supermachine-internal/testing";
import { afterEach, beforeEach, expect, test } from "vitest";

const CLI = fileURLToPath(new URL("../dist/cli.js", import.meta.url));
const shell = async (script: string) =>
  (await promisify(execFile)("bash", ["-euc", script])).stdout;

requireFacility("linux", "root", "fuse", `file:${CLI}`).describe("supermachine mount", () => {
  let directory: string;
  let mountPoint: string;
  let child: ChildProcess;
  let said: string;

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "supermachine-directory-"));
    mountPoint = mkdtempSync(join(tmpdir(), "supermachine-mount-"));
  });
  afterEach(async () => {
    child.kill("SIGKILL");
    await unmounted();
    rmSync(directory, { recursive: true });
    rmSync(mountPoint, { recursive: true });
  });

  /** Looks at the table: a dead mount itself tells nothing. */
  const unmounted = () =>
    shell(`for i in $(seq 20); do
      grep -q " ${mountPoint} " /proc/self/mountinfo || exit 0; sleep 0.1; done; exit 1`);

  async function start(...options: string[]): Promise<void> {
    child = spawn(process.execPath, [CLI, "mount", ...options, directory, mountPoint]);
    said = "";
    child.stderr?.setEncoding("utf8");
    await new Promise<void>((resolve, reject) => {
      child.once("close", (code) => reject(new Error(`ended with ${code}: ${said}`)));
      child.stderr?.on("data", (text: string) => {
        said += text;
        if (said.includes("\n")) resolve();
      });
    });
  }

  test("sees what happens in a directory that it watches, though it trusts what it has seen", async () => {
    writeFileSync(join(directory, "file"), "old");
    await start("--cache", "always", "--watch", "--no-passthrough");
    const show = () => shell(`cat ${mountPoint}/file; ls ${mountPoint} | paste -sd' '`);
    expect(await show()).toBe("oldfile\n");
    writeFileSync(join(directory, "file"), "new and longer");
    writeFileSync(join(directory, "other"), "");
    await expect.poll(show, { timeout: 3000 }).toBe("new and longerfile other\n");
  });

  test("shows a directory at another place until it is told to end", async () => {
    writeFileSync(join(directory, "file"), "content");
    await start();
    expect(said).toBe(`${directory} mounted on ${mountPoint}\n`);
    expect(await shell(`cat ${mountPoint}/file; echo new > ${mountPoint}/other`)).toBe("content");
    expect(await shell(`cat ${directory}/other; findmnt -no SOURCE ${mountPoint}`)).toBe(
      `new\n${directory}\n`,
    );
    child.kill("SIGINT");
    const [code] = await once(child, "close");
    expect(code).toBe(0);
    expect(await shell(`mountpoint ${mountPoint} || true`)).toMatch(/is not a mountpoint/);
  });

  test("ends when it is unmounted, and leaves nothing behind when killed", async () => {
    await start("--threads", "1");
    await shell(`umount ${mountPoint}`);
    expect((await once(child, "close"))[0]).toBe(0);
    await start();
    child.kill("SIGKILL");
    await unmounted();
  });

  test("lets other users in, with the permissions of the files", async () => {
    await start();
    const nobody = "setpriv --reuid nobody --regid nogroup --clear-groups";
    await shell(`
      chmod 755 ${mountPoint}; cd ${mountPoint}
      echo open > open; echo secret > secret; chmod 600 secret
      [ "$(${nobody} cat open)" = open ]
      ! ${nobody} cat secret 2>&1
      ! ${nobody} touch new 2>&1
      mkdir -m 1777 all; ${nobody} touch all/theirs; [ "$(stat -c %U all/theirs)" = nobody ]`);
  });

  test("is read-only when asked, and refuses what it does not know", async () => {
    await start("--read-only", "--cache", "none", "--no-passthrough");
    await expect(shell(`touch ${mountPoint}/x`)).rejects.toThrow(/Read-only file system/);
    const wrong = promisify(execFile)(process.execPath, [
      CLI,
      "mount",
      directory,
      "/no/such/place",
    ]);
    await expect(wrong).rejects.toMatchObject({
      code: 125,
      stderr: expect.stringContaining("/no/such/place is no mount point"),
    });
  });
});
