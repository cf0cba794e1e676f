import { resolve } from "node:path";
import { ensureInitramfs, ensureKernel } from "@supermachine/guest";
import { ImageStore, type StoredImage } from "@supermachine/oci/image-store";
import { Snapshot } from "@supermachine/vmm";
import { guestIdentity } from "../configure.js";
import { SupermachineError } from "../errors.js";
import type { MachineConfig, Share } from "../machine/config.js";
import type { RestoreVmOptions } from "./restore-options.js";
import { parseSavedConfig } from "./saved-config.js";
import { withSnapshotErrors } from "./snapshot-error.js";

/** A snapshot of a machine of this package, checked as far as that takes no time. */
export interface SavedMachine {
  readonly directory: string;
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly config: MachineConfig;
}

/** @throws {@link SupermachineError} ERR_SNAPSHOT_FORMAT, ERR_SNAPSHOT_VERSION, ERR_SNAPSHOT_CORRUPT. */
export function openSavedMachine(directory: string): Promise<SavedMachine> {
  return withSnapshotErrors(() => {
    using snapshot = Snapshot.open(directory);
    const { directory: path, memoryMiB, cpus, metadata } = snapshot;
    return { directory: path, memoryMiB, cpus, config: parseSavedConfig(path, metadata) };
  });
}

/**
 * The configuration with which a machine goes on from `saved`, and its image.
 *
 * @throws {@link SupermachineError} ERR_SNAPSHOT_KERNEL, ERR_SNAPSHOT_IMAGE, ERR_SNAPSHOT_DEVICES.
 */
export async function configureRestore(
  saved: SavedMachine,
  options: Omit<RestoreVmOptions, "snapshot">,
  mountsAreTrusted: boolean,
): Promise<{ config: MachineConfig; image: StoredImage }> {
  const { config, directory } = saved;
  const kernel = await ensureKernel();
  const initrd = await ensureInitramfs();
  const identity = guestIdentity(kernel, initrd);
  if (config.provenance.guest !== identity) {
    throw new SupermachineError(
      "ERR_SNAPSHOT_KERNEL",
      `the snapshot ${directory} has the guest ${config.provenance.guest}, and this release ${identity}: make it anew`,
    );
  }
  const image = await findImage(saved, options.store);
  const shares = mountsAreTrusted ? config.shares : givenShares(saved, options);
  const { verifyMemory = true, hostname = config.hostname, bootTimeoutMs } = options;
  return {
    image,
    config: {
      ...config,
      kernel,
      initrd,
      rootfs: image.rootfsPath,
      shares,
      hostname,
      bootTimeoutMs: bootTimeoutMs ?? config.bootTimeoutMs,
      restore: { directory, verifyMemory },
    },
  };
}

async function findImage(
  { config, directory }: SavedMachine,
  store = new ImageStore(),
): Promise<StoredImage> {
  const { name, digest } = config.provenance.image;
  const refuse = (detail: string, cause?: unknown) =>
    new SupermachineError(
      "ERR_SNAPSHOT_IMAGE",
      `the snapshot ${directory} was made of the image ${name} (${digest}), ${detail}`,
      { cause },
    );
  let image: StoredImage;
  try {
    image = await store.get(name);
  } catch (cause) {
    throw refuse("which is not in the store: import it", cause);
  }
  if (image.digest === digest) return image;
  throw refuse(`and the store has ${image.digest} by that name: make the snapshot anew`);
}

/** The saved shares, of the directories that the caller names. */
function givenShares(
  { config, directory }: SavedMachine,
  { mounts = [] }: Pick<RestoreVmOptions, "mounts">,
): Share[] {
  if (mounts.length !== config.shares.length) {
    const wanted = config.shares.map(({ host }) => host).join(", ");
    throw new SupermachineError(
      "ERR_SNAPSHOT_DEVICES",
      `the snapshot ${directory} has ${config.shares.length} mounts (${wanted}), and ${mounts.length} are given: give the same, in the same order`,
    );
  }
  return config.shares.map((share, index) => {
    const { host = share.host, readOnly = false } = mounts[index] ?? {};
    return { ...share, host: resolve(host), readOnly: readOnly || share.readOnly };
  });
}
