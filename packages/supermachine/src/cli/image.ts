import { ImageStore, type StoredImage } from "@supermachine/oci/image-store";
import { WarmSnapshots } from "../warm/warm-snapshots.js";

function size(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}

function describe({ name, digest, size: bytes }: StoredImage): string {
  return `${name}  ${digest.slice(0, 19)}  ${size(bytes)}`;
}

/** `supermachine image import` */
export async function importImage(
  path: string,
  flags: { name?: string; platform?: string },
): Promise<void> {
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort(new Error("interrupted"));
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  const image = await new ImageStore().import(path, { ...flags, signal: interrupted.signal });
  process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
  process.stdout.write(`${describe(image)}\n`);
}

/** `supermachine image ls` */
export async function listImages(): Promise<void> {
  const images = await new ImageStore().list();
  const width = Math.max(4, ...images.map(({ name }) => name.length));
  const row = (name: string, digest: string, bytes: string, created: string) =>
    process.stdout.write(
      `${name.padEnd(width)}  ${digest.padEnd(19)}  ${bytes.padStart(11)}  ${created}\n`,
    );
  row("NAME", "DIGEST", "SIZE", "IMPORTED");
  for (const { name, digest, size: bytes, createdAt } of images) {
    row(name, digest.slice(0, 19), size(bytes), createdAt.toISOString().slice(0, 19));
  }
}

/** `supermachine image rm` */
export async function removeImages(names: readonly string[]): Promise<void> {
  const store = new ImageStore();
  const warm = new WarmSnapshots(store);
  for (const name of names) {
    const { digest } = await store.get(name);
    await store.remove(name);
    const isUsed = (await store.list()).some((image) => image.digest === digest);
    if (!isUsed) await warm.removeImage(digest);
  }
}
