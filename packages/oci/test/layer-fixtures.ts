import { createHash } from "node:crypto";
import { ErofsReader } from "@supermachine/erofs";
import { pack } from "tar-stream";
import { type SourceImage, writeRootfs } from "../src/index.js";

/** A tar entry: attributes by tar-stream's names, and content. */
export interface Entry {
  readonly name: string;
  readonly type?: "file" | "link" | "symlink" | "directory" | "fifo" | "character-device";
  readonly content?: string;
  readonly linkname?: string;
  readonly mode?: number;
  readonly uid?: number;
  readonly mtime?: Date;
  readonly devmajor?: number;
  readonly devminor?: number;
  readonly pax?: Record<string, string>;
}

/** Packs entries with tar-stream, a writer that shares no code with the reader under test. */
export async function tarOf(...entries: Entry[]): Promise<Buffer> {
  const archive = pack();
  for (const { content = "", ...header } of entries) {
    archive.entry({ mode: 0o644, mtime: new Date(1_000_000), ...header }, content);
  }
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

/** An image of plain layers in memory, lowest first. */
export function imageOf(...layers: Uint8Array[]): SourceImage {
  return {
    digest: `sha256:${"0".repeat(64)}`,
    names: [],
    config: {
      platform: { os: "linux", architecture: "amd64" },
      env: {},
      cmd: [],
      entrypoint: [],
      workdir: "/",
      user: "",
      exposedPorts: [],
      volumes: [],
      labels: {},
    },
    layers: layers.map((bytes, index) => {
      const diffId = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      return {
        // Another digest than diffId, so that the content is compared.
        digest: `sha256:${String(index).padStart(64, "0")}`,
        diffId,
        size: bytes.length,
        what: `layer ${index + 1}`,
        async *open() {
          for (let at = 0; at < bytes.length; at += 700) yield bytes.subarray(at, at + 700);
        },
      };
    }),
  };
}

/** Writes the layers to an image in memory and opens it. */
export async function merge(...layers: Uint8Array[]): Promise<ErofsReader> {
  let bytes = Buffer.alloc(0);
  await writeRootfs(imageOf(...layers), {
    write(position, part) {
      if (position + part.length > bytes.length) {
        bytes = Buffer.concat([bytes, Buffer.alloc(position + part.length - bytes.length)]);
      }
      bytes.set(part, position);
    },
  });
  return ErofsReader.open({
    size: bytes.length,
    read: (at, length) => bytes.subarray(at, at + length),
  });
}

/** The paths of an image with what they are: content of files, `-> target` of symlinks, else the type. */
export async function show(reader: ErofsReader): Promise<Record<string, string>> {
  const shown: Record<string, string> = {};
  const visit = async (path: string, nid: number) => {
    const inode = await reader.inode(nid);
    if (inode.type === "file") shown[path] = Buffer.from(await reader.readFile(inode)).toString();
    else if (inode.type === "symlink") shown[path] = `-> ${await reader.readlink(inode)}`;
    else if (path !== "") shown[path] = inode.type;
    if (inode.type !== "directory") return;
    for await (const entry of reader.readdir(inode))
      await visit(`${path}/${entry.name}`, entry.nid);
  };
  await visit("", reader.superBlock.rootNid);
  return shown;
}

/** {@link merge} and {@link show} of layers given by their entries. */
export async function merged(...layers: Entry[][]): Promise<Record<string, string>> {
  return show(await merge(...(await Promise.all(layers.map((entries) => tarOf(...entries))))));
}
