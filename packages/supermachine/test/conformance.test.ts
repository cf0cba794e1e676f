import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  executorProgram,
  nativeTarget,
  startExecutorBy,
  type Target,
  testDifferential,
  testIntegrity,
  testPosix,
} from "@supermachine-internal/fs-conformance";
import { requireFacility, TemporaryDirectory } from "@supermachine-internal/testing";
import { hypervisor } from "./hypervisor.js";
import { cachedImage } from "./images.js";

const CLI = fileURLToPath(new URL("../dist/cli.js", import.meta.url));

/** A share in a guest, in which the executor runs. */
const guest: Target = {
  name: "a share in a guest",
  // A guest makes neither devices nor privileged attributes, and the FUSE client takes no such request.
  lacks: ["devices", "trusted", "groups", "collapse"],
  async start() {
    const directory = new TemporaryDirectory();
    const share = join(directory.path, "share");
    const programs = join(directory.path, "programs");
    for (const path of [share, programs]) mkdirSync(path, { mode: 0o755 });
    copyFileSync(executorProgram(["-static"]), join(programs, "executor"));
    process.env["SUPERMACHINE_HOME"] = join(directory.path, "store");
    execFileSync(process.execPath, [
      ...[CLI, "image", "import", await cachedImage("demo-"), "--name", "demo"],
    ]);
    const executor = startExecutorBy(process.execPath, [
      ...[CLI, "run", "--interactive", "--hypervisor", hypervisor],
      ...["--mount", `${share}:/share`, "--mount", `${programs}:/programs:ro`],
      ...["demo", "--", "/programs/executor", "/share"],
    ]);
    return {
      run: (commands) => executor.run(commands),
      async [Symbol.asyncDispose]() {
        await executor[Symbol.asyncDispose]();
        directory[Symbol.dispose]();
      },
    };
  },
};

requireFacility("linux", "root", "program:cc", `file:${CLI}`).describe(
  `a share in a guest on ${hypervisor}`,
  () => {
    testPosix(guest);
    testDifferential(guest, nativeTarget("the temporary directory", tmpdir()), { inputs: 5 });
    testIntegrity(guest, { inputs: 4 });
  },
);
