import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ImageStore } from "@supermachine/oci/image-store";
import { SNAPSHOT_VERSION } from "@supermachine/vmm";
import type { MachineConfig } from "../machine/config.js";

/** What a machine must have in common with one that was saved for it to go on from there. */
export interface WarmIdentity {
  /** The image's digest. */
  readonly digest: string;
  readonly config: MachineConfig;
  /** Tells several for one configuration apart. */
  readonly tag: string | undefined;
}

/**
 * Machines saved after a warm-up, found again by what they are: image, configuration, kernel and format. Any
 * number of processes may use them at once: one appears and vanishes in a single step.
 *
 * ```text
 * <image store>/warm/<image digest>/<key>   a snapshot
 * ```
 */
export class WarmSnapshots {
  readonly #root: string;

  constructor({ directory }: ImageStore) {
    this.#root = join(directory, "warm");
  }

  /** Where the snapshot of such a machine is, or will be: its parent directory exists afterwards. */
  place(identity: WarmIdentity): string {
    const parent = this.#of(identity.digest);
    mkdirSync(parent, { recursive: true, mode: 0o700 });
    return join(parent, warmKey(identity));
  }

  /** Where the snapshot of such a machine is, if there is one. */
  find(identity: WarmIdentity): string | undefined {
    const directory = join(this.#of(identity.digest), warmKey(identity));
    return existsSync(directory) ? directory : undefined;
  }

  /** Removes one; machines that go on from it keep what they have. */
  async remove(directory: string): Promise<void> {
    // Renamed first: nobody finds half of it. To a name by which the next to be saved here removes what is left.
    const aside = `${directory}.${randomBytes(6).toString("hex")}.tmp`;
    try {
      await rename(directory, aside);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
      throw error;
    }
    await rm(aside, { recursive: true, force: true });
  }

  /** Removes all that were made of an image. */
  async removeImage(digest: string): Promise<void> {
    await rm(this.#of(digest), { recursive: true, force: true });
  }

  #of(digest: string): string {
    return join(this.#root, digest.replace(":", "-"));
  }
}

/** The name of a warm machine: a hash over what it depends on. */
function warmKey({ digest, config, tag = "" }: WarmIdentity): string {
  const { memoryMiB, cpus, provenance, shares } = config;
  // A restored machine is given its host name anew.
  const commandLine = config.commandLine.replaceAll(config.hostname, "");
  const machine = { memoryMiB, cpus, guest: provenance.guest, shares, commandLine };
  const parts = JSON.stringify([SNAPSHOT_VERSION, digest, tag, machine]);
  return createHash("sha256").update(parts).digest("hex").slice(0, 32);
}
