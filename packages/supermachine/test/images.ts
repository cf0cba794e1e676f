import { mkdtemp, readdir, rm } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { ImageStore } from "supermachine";

/** The directory of images that `npm run setup` makes. */
function imageCache(): string {
  return join(process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "supermachine", "images");
}

/** The directory that the set-up made for an image, by the prefix of its name. */
export async function cachedImage(prefix: "demo-" | "debian-"): Promise<string> {
  const names = await readdir(imageCache()).catch(() => []);
  const name = names.filter((entry) => entry.startsWith(prefix) && !entry.endsWith(".lock")).at(-1);
  if (name === undefined) throw new Error(`no ${prefix} image is set up: npm run setup -- test`);
  return join(imageCache(), name);
}

/** An image store of its own, with the demo image, removed on dispose. */
export async function demoStore(): Promise<{ store: ImageStore } & AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), "supermachine-store-"));
  const store = new ImageStore(directory);
  await store.import(await cachedImage("demo-"), { name: "demo" });
  return {
    store,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}
