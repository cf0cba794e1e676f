import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { requireFacility, until } from "@supermachine-internal/testing";
import ts from "typescript";
import { expect } from "vitest";
import { findExecutable } from "./executable.js";

/** Neither running nor waiting to be reaped. */
function ended(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, "latin1").includes(") Z ");
  } catch {
    return true;
  }
}

requireFacility("linux", "program:setpriv", "program:sleep").test(
  "a child ends with the process that started it",
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "bound-process-"));
    // The parent has to be another process than this one, and cannot run TypeScript by itself.
    for (const module of ["bound-process", "executable", "error"]) {
      const source = readFileSync(new URL(`${module}.ts`, import.meta.url), "utf8");
      const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
      const { outputText } = ts.transpileModule(source, { compilerOptions });
      writeFileSync(join(directory, `${module}.js`), outputText);
    }
    writeFileSync(join(directory, "package.json"), `{ "type": "module" }`);
    writeFileSync(
      join(directory, "parent.js"),
      `import { spawnBound } from "./bound-process.js";
     const { child } = await spawnBound(${JSON.stringify(findExecutable("sleep"))}, ["600"]);
     // Once the program itself runs, setpriv has done its part.
     const { readFileSync } = await import("node:fs");
     while (!readFileSync("/proc/" + child.pid + "/comm", "latin1").startsWith("sleep")) {}
     process.stdout.write(String(child.pid));`,
    );
    const parent = spawn(process.execPath, [join(directory, "parent.js")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [output] = (await once(parent.stdout, "data")) as [Buffer];
    const pid = Number(output.toString());
    expect(ended(pid)).toBe(false);
    parent.kill("SIGKILL");
    await once(parent, "exit");
    await until(() => ended(pid), "the child to end");
    rmSync(directory, { recursive: true });
  },
);
