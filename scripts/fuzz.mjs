// @ts-check
// npm run fuzz [-- PATTERN…]: run every property test for SUPERMACHINE_FUZZ_SECONDS (20) instead of a
// few hundred inputs, and print how many inputs each saw. PATTERN names test files by a part of the path.
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "./command.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const seconds = Number(process.env.SUPERMACHINE_FUZZ_SECONDS ?? "20");
if (!(seconds > 0)) throw new RangeError("SUPERMACHINE_FUZZ_SECONDS has to be a number above 0");

/** Test files that state properties. */
const targets = ["packages", "internal"]
  .flatMap((folder) =>
    readdirSync(join(ROOT, folder)).flatMap((name) => testFiles(join(ROOT, folder, name))),
  )
  .filter((path) =>
    /from "(fast-check|@supermachine-internal\/fs-conformance)"/.test(readFileSync(path, "utf8")),
  )
  .map((path) => relative(ROOT, path))
  .filter((path) => wanted(path));

/** @param {string} packageFolder */
function testFiles(packageFolder) {
  return readdirSync(packageFolder)
    .filter((name) => name === "src" || name === "test")
    .flatMap((name) =>
      readdirSync(join(packageFolder, name), { recursive: true, encoding: "utf8" })
        .filter((path) => path.endsWith(".test.ts"))
        .map((path) => join(packageFolder, name, path)),
    );
}

/** @param {string} path */
function wanted(path) {
  const patterns = process.argv.slice(2);
  return patterns.length === 0 || patterns.some((pattern) => path.includes(pattern));
}

const directory = mkdtempSync(join(tmpdir(), "supermachine-fuzz-"));
const report = join(directory, "inputs.jsonl");
writeFileSync(report, "");
try {
  // A test may state several properties, each with the time of its own.
  const timeoutMs = String(seconds * 1000 * 5 + 60_000);
  await run(
    join("node_modules", ".bin", "vitest"),
    ["run", "--reporter=dot", "--testTimeout", timeoutMs, ...targets],
    {
      cwd: ROOT,
      inherit: true,
      env: {
        ...process.env,
        SUPERMACHINE_FUZZ_SECONDS: String(seconds),
        SUPERMACHINE_FUZZ_REPORT: report,
      },
    },
  );
} catch {
  process.exitCode = 1;
} finally {
  printInputs(readFileSync(report, "utf8"));
  rmSync(directory, { recursive: true });
}

/** @param {string} lines of internal/testing/src/fuzz-setup.ts */
function printInputs(lines) {
  for (const line of lines.split("\n")) {
    if (line === "") continue;
    const { file, name, inputs } = JSON.parse(line);
    process.stdout.write(`${String(inputs).padStart(9)}  ${relative(ROOT, file)}: ${name}\n`);
  }
}
