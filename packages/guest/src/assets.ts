import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { access, mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { cacheDirectory } from "./cache-directory.js";
import { GuestAssetError } from "./errors.js";
import { buildInitramfs } from "./initramfs.js";

/** Options of the `ensure...` functions. */
export interface EnsureOptions {
  /** Receives what the build reports, line by line. */
  onProgress?: (line: string) => void;
  /** Ends the build. */
  signal?: AbortSignal;
}

interface Asset {
  name: "kernel" | "agent";
  /** Environment variable that names a ready file. */
  variable: string;
  script: string;
}

const KERNEL: Asset = {
  name: "kernel",
  variable: "SUPERMACHINE_KERNEL",
  script: "build-kernel.sh",
};
const AGENT: Asset = { name: "agent", variable: "SUPERMACHINE_AGENT", script: "build-agent.sh" };

/** Goes up when `buildInitramfs` writes something else. */
const INITRAMFS_VERSION = "1";

/** Path of the guest kernel (a bzImage) if it has been built or `SUPERMACHINE_KERNEL` names one. Never builds. */
export async function findKernel(): Promise<string | undefined> {
  return find(KERNEL);
}

/**
 * Path of the guest kernel, built now if it never was: that takes minutes and the packages the README lists.
 *
 * @throws {@link GuestAssetError} ERR_GUEST_PLATFORM, ERR_GUEST_ASSET_MISSING, ERR_GUEST_ASSET_BUILD.
 */
export async function ensureKernel(options: EnsureOptions = {}): Promise<string> {
  return ensure(KERNEL, options);
}

/** Path of the guest agent if it has been built or `SUPERMACHINE_AGENT` names one. Never builds. */
export async function findAgent(): Promise<string | undefined> {
  return find(AGENT);
}

/** Path of the guest agent, built now if needed (about a second). Throws as {@link ensureKernel} does. */
export async function ensureAgent(options: EnsureOptions = {}): Promise<string> {
  return ensure(AGENT, options);
}

/**
 * Path of an initramfs with the agent as its /init, made now if needed. Throws as {@link ensureKernel} does.
 * When it was made before this takes a millisecond: every start of a machine does it.
 */
export async function ensureInitramfs(options: EnsureOptions = {}): Promise<string> {
  const given = await fromEnvironment(AGENT);
  const path = join(cacheDirectory(), "initramfs", `${initramfsKey(given)}.cpio`);
  if (existsSync(path)) return path;
  const archive = await buildInitramfs(given ?? (await ensureAgent(options)));
  await mkdir(dirname(path), { recursive: true });
  const partial = `${path}.${process.pid}.partial`;
  await writeFile(partial, archive);
  await rename(partial, path);
  return path;
}

/** A file of this package, which this code may have been bundled out of. */
function packageFile(path: string): string {
  const manifest = createRequire(import.meta.url).resolve("@supermachine/guest/package.json");
  return join(dirname(manifest), path);
}

function scriptPath(asset: Asset): string {
  return packageFile(`scripts/${asset.script}`);
}

function shortHash(...contents: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const content of contents) hash.update(content);
  return hash.digest("hex").slice(0, 16);
}

/** `read` once: every start and restore of a machine asks, and the package's files stay what they are meanwhile. */
function once(read: () => string): () => string {
  let known: string | undefined;
  return () => {
    known ??= read();
    return known;
  };
}

/** Changes with whatever goes into the initramfs: the agent's sources, or the agent itself when one is given. */
function initramfsKey(agentPath: string | undefined): string {
  return agentPath === undefined ? agentSourcesKey() : shortHash(readFileSync(agentPath));
}

const agentSourcesKey = once(() => {
  const directory = packageFile("agent");
  const sources = readdirSync(directory).filter((name) => /\.[ch]$/.test(name));
  return shortHash(
    INITRAMFS_VERSION,
    ...sources.sort().map((name) => readFileSync(join(directory, name))),
  );
});

const kernelConfigurationKey = once(() => shortHash(readFileSync(packageFile("kernel/config"))));

/** Where build-kernel.sh links the kernel of this package's configuration. */
function builtKernel(): string | undefined {
  const path = join(cacheDirectory(), "kernel", `config-${kernelConfigurationKey()}`, "bzImage");
  return existsSync(path) ? path : undefined;
}

async function fromEnvironment(asset: Asset): Promise<string | undefined> {
  const path = process.env[asset.variable];
  if (!path) return undefined;
  try {
    await access(path);
  } catch (cause) {
    throw new GuestAssetError(
      "ERR_GUEST_ASSET_MISSING",
      `${asset.variable} names ${path}, which cannot be read`,
      { cause },
    );
  }
  return path;
}

async function find(asset: Asset): Promise<string | undefined> {
  const given = await fromEnvironment(asset);
  if (given || process.platform !== "linux") return given;
  if (asset === KERNEL) {
    const built = builtKernel();
    if (built) return built;
  }
  const { code, stdout } = await runScript(asset, ["--find"], {});
  return code === 0 && stdout ? stdout : undefined;
}

async function ensure(asset: Asset, options: EnsureOptions): Promise<string> {
  const found = (await fromEnvironment(asset)) ?? (asset === KERNEL ? builtKernel() : undefined);
  if (found) return found;
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new GuestAssetError(
      "ERR_GUEST_PLATFORM",
      `the guest ${asset.name} is built on x86-64 Linux only; build it there with scripts/${asset.script} and set ${asset.variable} to its path`,
    );
  }
  const { code, stdout, stderr } = await runScript(asset, [], options);
  if (code === 0 && stdout) return stdout;
  throw new GuestAssetError(
    "ERR_GUEST_ASSET_BUILD",
    `the guest ${asset.name} could not be built (sh ${scriptPath(asset)}):\n${stderr.trim()}`,
    options.signal?.aborted ? { cause: options.signal.reason } : undefined,
  );
}

async function runScript(
  asset: Asset,
  args: string[],
  options: EnsureOptions,
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const script = scriptPath(asset);
  await readFile(script).catch((cause: unknown) => {
    throw new GuestAssetError(
      "ERR_GUEST_ASSET_MISSING",
      `${script} is missing: reinstall the package`,
      {
        cause,
      },
    );
  });
  return new Promise((resolve, reject) => {
    const child = spawn("sh", [script, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    const onAbort = () => child.kill("SIGTERM");
    options.signal?.addEventListener("abort", onAbort, { once: true });
    if (options.signal?.aborted) onAbort();
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-8192);
      for (const line of text.split("\n")) if (line) options.onProgress?.(line);
    });
    child.on("error", (cause) =>
      reject(new GuestAssetError("ERR_GUEST_ASSET_BUILD", `cannot run sh ${script}`, { cause })),
    );
    child.on("close", (code) => {
      options.signal?.removeEventListener("abort", onAbort);
      resolve({ code, stdout: stdout.trim(), stderr });
    });
  });
}
