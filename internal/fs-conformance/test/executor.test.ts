import { tmpdir } from "node:os";
import { requireFacility } from "@supermachine-internal/testing";
import { expect, test } from "vitest";
import { pseudoRandom, showBytes, startNative } from "../src/index.js";

const { describe: withExecutor } = requireFacility("linux", "root", "program:cc");

withExecutor("the executor", () => {
  test("makes and shows the bytes that this package makes and shows", async () => {
    await using executor = await startNative(tmpdir());
    for (const [length, seed] of [
      [0, 1],
      [64, 1],
      [65, 2 ** 31 - 1],
      [100_000, 12345],
    ] as const) {
      const [, answer] = await executor.run([`write f #${length}:${seed}`, "cat f"]);
      expect(answer).toBe(showBytes(pseudoRandom(length, seed)));
    }
  });

  test("runs commands as other users and in other processes", async () => {
    await using executor = await startNative(tmpdir());
    const answers = await executor.run([
      "as 1001:1002 mkdir d",
      "mkdir d 0700",
      "as 1001:1002 readdir d",
      "readdir d",
      "in 1 umask 077",
      "in 1 mkdir e 0777",
      "mkdir f 0777",
      "stat e mode",
      "stat f mode",
    ]);
    expect(answers).toEqual(["EACCES", "0", "EACCES", "empty", "0", "0", "0", "0700", "0755"]);
  });

  test("leaves nothing of one sequence to the next", async () => {
    await using executor = await startNative(tmpdir());
    await executor.run([
      "umask 077",
      "mkdir a/b",
      "mkdir a",
      "write a/f x",
      "open 0 a/f O_RDWR",
      "chmod . 0",
      "setxattr . user.a 1",
    ]);
    expect(
      await executor.run(["reset", "tree", "stat . mode", "listxattr .", "close 0", "mkdir d"]),
    ).toEqual(["0", "tree", "0755", "none", "EBADF", "0"]);
  });

  test("says what it does not understand", async () => {
    await using executor = await startNative(tmpdir());
    const [answer] = await executor.run(["frobnicate a"]);
    expect(answer).toMatch(/unknown command/);
    await expect(executor.run(["mkdir a frobnicate"])).rejects.toThrow(/frobnicate is no number/);
  });
});
