// @ts-check
// The direction of imports between the packages, and the packages that import no I/O at all.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

/** Each package and all it may import of ours. What is not listed is denied. */
const ALLOWED = /** @type {Record<string, readonly string[]>} */ ({
  "fuse-protocol": [],
  "fuse-server": ["fuse-protocol"],
  "fuse-mount": ["fuse-protocol", "fuse-server"],
  "posix-backend": ["fuse-protocol", "fuse-server"],
  fsd: ["fuse-server", "posix-backend", "virtio"],
  erofs: [],
  oci: ["erofs"],
  guest: [],
  virtio: ["fuse-protocol", "fuse-server"],
  qemu: ["virtio"],
  hypervisor: [],
  kvm: ["hypervisor"],
  vmm: ["hypervisor", "virtio"],
  supermachine: [
    ...["vmm", "hypervisor", "kvm", "virtio", "qemu", "guest", "oci", "erofs"],
    ...["posix-backend", "fuse-mount", "fuse-server", "fuse-protocol", "fsd"],
  ],
});
/** Pure code: bytes and numbers in, bytes and numbers out. Runs in a browser, too. */
const PURE = ["fuse-protocol/src/", "hypervisor/src/", "erofs/src/", "virtio/src/queue/"];
/** What else those folders hold, behind entry points of its own. */
const NOT_PURE = ["hypervisor/src/conformance", "erofs/src/file.ts"];
const IMPURE_MODULE = /^(node:|koffi$|@supermachine-internal\/libc$)/;

const PACKAGES = fileURLToPath(new URL("../packages/", import.meta.url));
/** @type {string[]} */
const problems = [];
for (const folder of readdirSync(PACKAGES)) checkPackage(folder);
for (const problem of problems) process.stderr.write(`${problem}\n`);
if (problems.length > 0) process.exitCode = 1;

/** @param {string} folder */
function checkPackage(folder) {
  const allowed = ALLOWED[folder];
  if (allowed === undefined) {
    problems.push(`packages/${folder}: not in the table of scripts/check-imports.mjs`);
    return;
  }
  const manifest = JSON.parse(readFileSync(`${PACKAGES}${folder}/package.json`, "utf8"));
  const runtime = Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies });
  const bundled = Object.keys(manifest.devDependencies ?? {}).filter(isInternal);
  for (const name of runtime) {
    const ours = ourFolder(name);
    if (ours !== undefined && !allowed.includes(ours))
      problems.push(`packages/${folder}/package.json: may not depend on ${name}`);
    if (isInternal(name))
      problems.push(
        `packages/${folder}/package.json: ${name} is not published, make it a devDependency`,
      );
  }
  for (const file of sources(`${PACKAGES}${folder}/src`)) {
    const path = relative(PACKAGES, file);
    if (isPure(path)) checkPure(path, file);
    for (const specifier of importsOf(file)) {
      if (specifier.startsWith(".")) continue;
      const name = packageOf(specifier);
      const ours = ourFolder(name);
      if (ours !== undefined && ours !== folder && !allowed.includes(ours))
        problems.push(`packages/${path}: ${folder} may not import ${name}`);
      if (
        !name.startsWith("node:") &&
        name !== manifest.name &&
        ![...runtime, ...bundled].includes(name)
      )
        problems.push(`packages/${path}: imports ${name}, which its package.json does not list`);
    }
  }
}

/**
 * Follow a pure file's own imports: nothing it reaches may do I/O.
 *
 * @param {string} path of the pure file, below packages/
 * @param {string} file
 */
function checkPure(path, file, seen = new Set()) {
  if (seen.has(file)) return;
  seen.add(file);
  for (const specifier of importsOf(file)) {
    if (specifier.startsWith("."))
      checkPure(path, join(dirname(file), specifier.replace(/\.js$/, ".ts")), seen);
    else if (IMPURE_MODULE.test(packageOf(specifier)))
      problems.push(
        `packages/${path}: must do no I/O, but ${relative(PACKAGES, file)} imports ${specifier}`,
      );
  }
}

/** @param {string} path below packages/ */
function isPure(path) {
  const below = (/** @type {string} */ prefix) => path.startsWith(prefix);
  return PURE.some(below) && !NOT_PURE.some(below);
}

/** @param {string} directory */
function sources(directory) {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => `${directory}/${name}`);
}

/** @param {string} file */
function importsOf(file) {
  return ts
    .preProcessFile(readFileSync(file, "utf8"))
    .importedFiles.map(({ fileName }) => fileName);
}

/** @param {string} specifier `@scope/name/sub/path` or `name/sub/path` */
function packageOf(specifier) {
  if (specifier.startsWith("node:")) return specifier;
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}

/** @param {string} name */
function ourFolder(name) {
  if (name === "supermachine") return name;
  return name.startsWith("@supermachine/") ? name.slice("@supermachine/".length) : undefined;
}

/** @param {string} name */
function isInternal(name) {
  return name.startsWith("@supermachine-internal/");
}
