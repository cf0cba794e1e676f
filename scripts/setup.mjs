// @ts-check
// npm run setup [-- demo|test]: everything a fresh clone needs. Only Node's own modules are imported
// here and below: this runs before any dependency exists. Each step does nothing when done before.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ensureLabKernel } from "../lab/kernel.mjs";
import { exists } from "./cache.mjs";
import { CommandError, run } from "./command.mjs";
import { ensureDebianImage } from "./setup/debian-image.mjs";
import { ensureDebianPackages, updatePackageLists } from "./setup/debian-packages.mjs";
import { ensureDemoLayout, importDemoImage } from "./setup/demo-image.mjs";
import { ensureNodeModules } from "./setup/node-modules.mjs";
import { step } from "./step.mjs";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CLI = fileURLToPath(new URL("../packages/supermachine/dist/cli.js", import.meta.url));

/**
 * @param {"demo" | "test"} profile `test` includes `demo`
 * @returns {Promise<void>}
 */
export async function setup(profile) {
  await step("Debian packages", () => ensureDebianPackages(profile));
  await step("npm packages", () => ensureNodeModules(ROOT));
  await step("build", build);
  await step("guest kernel", () => guestScript("build-kernel.sh"));
  await step("guest agent", () => guestScript("build-agent.sh"));
  await step("demo image", async () => importDemoImage(CLI, await ensureDemoLayout()));
  if (profile === "demo") return;
  await step("Debian image", ensureDebianImage);
  await step("lab kernel", async () => (await labKernel()).kernel);
}

async function build() {
  const turbo = ["--env-file=turbo.env", "node_modules/turbo/bin/turbo"];
  const output = await run(
    process.execPath,
    [...turbo, "run", "build", "--output-logs=errors-only"],
    { cwd: ROOT },
  );
  if (!(await exists(CLI))) throw new Error("the build made no packages/supermachine/dist/cli.js");
  // npm links the commands of workspaces on install, but only those that exist by then.
  if (!(await exists(join(ROOT, "node_modules", ".bin", "supermachine"))))
    await run("npm", ["rebuild", "supermachine", "--ignore-scripts"], { cwd: ROOT });
  return /Tasks:\s+(.*)/.exec(output)?.[1];
}

/** @param {string} name prints the path of what it has built, or found in the cache */
async function guestScript(name) {
  const script = fileURLToPath(new URL(`../packages/guest/scripts/${name}`, import.meta.url));
  return (await run("sh", [script], { stdio: ["ignore", "pipe", "inherit"] })).trim();
}

async function labKernel() {
  return ensureLabKernel().catch(async (error) => {
    if (process.geteuid?.() !== 0) throw error;
    await updatePackageLists();
    return ensureLabKernel();
  });
}

/**
 * Print what failed in a sentence, and a command's own words where there are some.
 *
 * @param {string} what
 * @param {unknown} error
 */
export function reportFailure(what, error) {
  if (error instanceof CommandError) process.stderr.write(error.output);
  process.stderr.write(`${what}: ${error instanceof Error ? error.message : error}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const profile = process.argv[2] ?? "test";
  if (profile !== "demo" && profile !== "test") {
    process.stderr.write("Usage: npm run setup [-- demo|test]\n");
    process.exit(2);
  }
  await setup(profile).catch((error) => {
    reportFailure("setup", error);
    process.exitCode = 1;
  });
}
