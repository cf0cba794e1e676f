import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { O_WRONLY } from "@supermachine/fuse-protocol";
import { connectStream } from "@supermachine/fuse-server";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { expect } from "vitest";
import { COMMAND, Command } from "./command.js";

const { test } = requireFacility("linux", `file:${COMMAND}`);
const ROOT = 1;

test("the command serves roots to many clients, within limits, until it is told to end", async () => {
  using directory = new TemporaryDirectory();
  const [one, docs] = ["one", "docs"].map((name) => join(directory.path, name)) as [string, string];
  for (const path of [one, docs]) mkdirSync(path);
  const socketPath = join(directory.path, "roots.sock");
  await using command = new Command([
    ...["--socket-path", socketPath, "--root", `one=${one}`, "--readonly-root", `docs=${docs}`],
    ...["--max-open-files", "1", "--max-clients", "2"],
  ]);
  await command.serving();
  {
    using writer = await connectStream(socketPath, { root: "one" });
    using reader = await connectStream(socketPath, { root: "docs" });
    const { entry, opened } = await writer.create(ROOT, "file", 0o644, O_WRONLY);
    await writer.write(entry.nodeid, opened.fh, 0, Buffer.from("content"));
    expect(readFileSync(join(one, "file"), "utf8")).toBe("content");
    await expect(writer.open(entry.nodeid)).rejects.toMatchObject({ code: "ENFILE" });
    await expect(reader.create(ROOT, "file")).rejects.toMatchObject({ code: "EROFS" });
    await expect(connectStream(socketPath, { root: "one" })).rejects.toThrow();
  }
  command.child.kill("SIGTERM");
  expect(await command.ended).toBe(0);
  expect(existsSync(socketPath)).toBe(false);
  expect(command.errors).toContain("sharing one, docs on");
});

const refused: readonly [options: string[], reason: RegExp][] = [
  [["--root", "one"], /give a root as NAME=DIRECTORY, not one/],
  [["--root", "one=/tmp", "--readonly-root", "one=/"], /two roots with the name one/],
  [["--root", "one=/does/not/exist"], /root "one": cannot share/],
  [["--root", "one=/tmp", "--shared-dir", "/tmp"], /--shared-dir is not for use with --root/],
  [["--root", "one=/tmp", "--sandbox", "none"], /--sandbox is not for use with --root/],
  [["--shared-dir", "/tmp", "--thread-pool-size", "2000"], /a pool of 2000 threads/],
  [["--shared-dir", "/tmp", "--max-clients", "2"], /--max-clients is not for use without --root/],
];
for (const [options, reason] of refused) {
  test(`${options.join(" ")} is refused with a reason`, async () => {
    using directory = new TemporaryDirectory();
    const socketPath = join(directory.path, "roots.sock");
    await using command = new Command([...options, "--socket-path", socketPath]);
    expect(await command.ended).toBe(1);
    expect(command.errors).toMatch(reason);
    expect(existsSync(socketPath)).toBe(false);
  });
}
