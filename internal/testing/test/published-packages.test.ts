import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import ts from "typescript";
import { expect, test } from "vitest";
import { type Facility, requireFacility, TemporaryDirectory } from "../src/index.js";

const run = promisify(execFile);
const root = resolve(import.meta.dirname, "..", "..", "..");
const packages = join(root, "packages");

interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

const folders = readdirSync(packages);
const manifestOf = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(packages, folder, "package.json"), "utf8"));
const builds = folders.map(
  (folder): Facility => `file:${join(packages, folder, "dist", "index.js")}`,
);

/** Runs a module that imports packages by name, in a directory of its own. */
async function runModule(code: string, name = "example.mjs"): Promise<string> {
  using directory = new TemporaryDirectory();
  symlinkSync(join(root, "node_modules"), join(directory.path, "node_modules"));
  writeFileSync(join(directory.path, name), code);
  const options = { cwd: directory.path, timeout: 60_000 };
  const { stdout } = await run(process.execPath, [name], options);
  return stdout;
}

requireFacility(...builds).describe("the built packages", () => {
  test.each(folders)("declarations of %s import only what its users have", (folder) => {
    const { name, dependencies, peerDependencies } = manifestOf(folder);
    const theirs = [name, ...Object.keys({ ...dependencies, ...peerDependencies })];
    const dist = join(packages, folder, "dist");
    for (const file of readdirSync(dist).filter((entry) => /\.d\.c?ts$/.test(entry))) {
      const path = join(dist, file);
      const { importedFiles } = ts.preProcessFile(readFileSync(path, "utf8"));
      for (const { fileName } of importedFiles) {
        if (fileName.startsWith("node:")) continue;
        if (fileName.startsWith(".")) {
          const declaration = join(dirname(path), fileName.replace(/\.(c?)js$/, ".d.$1ts"));
          expect([file, fileName, existsSync(declaration)]).toEqual([file, fileName, true]);
        } else {
          const imported = fileName.split("/", fileName.startsWith("@") ? 2 : 1).join("/");
          expect(theirs, `${file} imports ${fileName}`).toContain(imported);
        }
      }
    }
  });

  test("a strict program that imports every entry type-checks, declarations included", () => {
    using directory = new TemporaryDirectory();
    symlinkSync(join(root, "node_modules"), join(directory.path, "node_modules"));
    const imports = folders.flatMap((folder) => {
      const { name, exports } = manifestOf(folder);
      const entries = Object.keys(exports).filter((path) => path !== "./package.json");
      return entries.map((path) => `import * as _ from ${JSON.stringify(join(name, path))};`);
    });
    const files = imports.map((line, i) => {
      const path = join(directory.path, `entry-${i}.mts`);
      writeFileSync(path, `${line}\nexport { _ };\n`);
      return path;
    });
    const program = ts.createProgram(files, {
      module: ts.ModuleKind.NodeNext,
      target: ts.ScriptTarget.ES2022,
      lib: ["lib.es2023.d.ts", "lib.esnext.disposable.d.ts"],
      types: ["node"],
      typeRoots: [join(root, "node_modules", "@types")],
      strict: true,
      noEmit: true,
    });
    const ours = ts
      .getPreEmitDiagnostics(program)
      // Those of other people's declarations are theirs.
      .filter(({ file }) => file === undefined || !file.fileName.includes("/node_modules/"))
      .map(
        ({ file, messageText }) =>
          `${file?.fileName}: ${ts.flattenDiagnosticMessageText(messageText, " ")}`,
      );
    expect(ours).toEqual([]);
  }, 60_000);

  test.each(folders)(
    "every entry of %s loads with import, and with require where it says so",
    async (folder) => {
      const { name, exports } = manifestOf(folder);
      const entries = Object.entries(exports).filter(([path]) => path !== "./package.json");
      // The conformance suite works inside a vitest run only.
      const loadable = entries.filter(([path]) => path !== "./conformance");
      for (const [path, conditions] of loadable) {
        const specifier = JSON.stringify(join(name, path));
        await runModule(`await import(${specifier});`);
        if (typeof conditions === "object" && conditions !== null && "require" in conditions)
          await runModule(`require(${specifier});`, "example.cjs");
      }
    },
  );
});

/** The first code block of a README, and what it prints. */
const examples: [folder: string, prints: RegExp, ...needs: Facility[]][] = [
  ["erofs", /^hello\n$/],
  ["fuse-mount", /^total .*\n-rw-r--r-- 1 root root 3 .* a\n/, "linux", "root", "fuse"],
  ["fuse-protocol", /^LOOKUP - LOOKUP #6 node 1 "name"\n$/],
  ["fuse-server", /^hello\n$/],
  ["hypervisor", /^kvm (runs|interprets) guests: \d+ instructions\/s\n$/, "x86-64", "kvm"],
  ["kvm", /^port 0x10: 42\n$/, "x86-64", "kvm"],
  ["virtio", /^hello from the driver\n$/],
];

for (const [folder, prints, ...needs] of examples)
  requireFacility(...builds, ...needs).test(
    `the README of ${folder} starts with code that runs`,
    async () => {
      const text = readFileSync(join(packages, folder, "README.md"), "utf8");
      const [, example = ""] = /```(?:ts|js)\n(.*?)```/s.exec(text) ?? [];
      const compilerOptions = {
        module: ts.ModuleKind.ESNext,
        target: ts.ScriptTarget.ES2022,
      };
      expect(await runModule(ts.transpileModule(example, { compilerOptions }).outputText)).toMatch(
        prints,
      );
    },
  );
