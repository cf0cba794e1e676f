import { randomBytes } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { TemporaryDirectory } from "@supermachine-internal/testing";
import { buildInitrd, Guest, guestKernelPath } from "./guest.js";

/** A directory to share, the socket to do it on, and an initial RAM disk. */
export class Fixture extends TemporaryDirectory {
  readonly sharedDir = join(this.path, "shared");
  readonly socketPath = join(this.path, "fs.sock");
  readonly initrd = join(this.path, "initrd");
  readonly content = randomBytes(3 * 2 ** 20 + 5);

  constructor() {
    super();
    mkdirSync(this.sharedDir);
    writeFileSync(join(this.sharedDir, "in"), this.content);
    buildInitrd(this.initrd);
  }

  boot(commandLine = ""): Guest {
    const { initrd, socketPath } = this;
    return new Guest({
      machine: "microvm",
      kernel: guestKernelPath,
      initrd,
      socketPath,
      commandLine,
      monitorPath: join(this.path, "monitor.sock"),
    });
  }
}
