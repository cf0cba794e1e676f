import { renameSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { describe, expect, test } from "vitest";
import type { PosixBackendOptions } from "../src/index.js";
import { Client, root } from "./client.js";

/** A lookup expects what the one before it found, and must be right when it is not so. */
describe("a lookup", () => {
  /** A client whose next lookup expects nothing new. */
  function familiar(dir: TemporaryDirectory, options: PosixBackendOptions = {}): Client {
    const client = new Client(dir.path, options);
    expect(client.lookup(root, "absent")).toBe("ENOENT");
    return client;
  }

  test("of a name that another file has taken finds that file", () => {
    using dir = new TemporaryDirectory();
    writeFileSync(join(dir.path, "name"), "first");
    using client = familiar(dir);
    const first = client.walk("name");
    expect(client.walk("name")).toBe(first);
    // Kept aside, so that its inode number is not free; and then not kept.
    renameSync(join(dir.path, "name"), join(dir.path, "aside"));
    writeFileSync(join(dir.path, "name"), "second");
    const second = client.walk("name");
    expect(second).not.toBe(first);
    expect(client.walk("aside")).toBe(first);
    unlinkSync(join(dir.path, "name"));
    expect(client.lookup(root, "name")).toBe("ENOENT");
    writeFileSync(join(dir.path, "name"), "third");
    const third = client.walk("name");
    expect(third).not.toBe(second);
    expect(client.read(client.open(third))).toBe("third");
  });

  test("counts each time, whichever way it went", () => {
    using dir = new TemporaryDirectory();
    writeFileSync(join(dir.path, "name"), "");
    using client = familiar(dir);
    const node = client.walk("name");
    for (let i = 0; i < 4; i++) expect(client.walk("name")).toBe(node);
    client.backend.forget(node, 4);
    expect(client.backend.inodeCount).toBe(2);
    client.backend.forget(node, 1);
    expect(client.backend.inodeCount).toBe(1);
  });

  test("follows a link, where links are followed, that was known as a link while it was broken", () => {
    using dir = new TemporaryDirectory();
    symlinkSync("file", join(dir.path, "link"));
    using client = familiar(dir, { symlinks: "follow" });
    const link = client.walk("link");
    expect(client.walk("link")).toBe(link);
    writeFileSync(join(dir.path, "file"), "");
    const file = client.walk("file");
    expect(file).not.toBe(link);
    expect(client.lookup(root, "absent")).toBe("ENOENT");
    expect(client.walk("link")).toBe(file);
  });
});
