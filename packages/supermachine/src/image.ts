import { ImageStore, type StoredImage } from "@supermachine/oci/image-store";
import { configureMachine } from "./configure.js";
import { SupermachineError } from "./errors.js";
import { chooseHypervisor } from "./hypervisor/choice.js";
import { Pool, type PoolOptions, type PoolSource } from "./pool/pool.js";
import { startMachine } from "./start.js";
import { traced } from "./tracing.js";
import { Vm } from "./vm.js";
import type { VmOptions } from "./vm-options.js";
import { WarmSnapshots } from "./warm/warm-snapshots.js";

/** Options of machines of an image: those of `Vm.start` without the image. */
export type ImageVmOptions = Omit<VmOptions, "image" | "store">;

/** Options of {@link Image.pool}: how many machines, and what each is. */
export interface ImagePoolOptions
  extends PoolOptions,
    Omit<ImageVmOptions, "detached" | "name" | "command" | "signal"> {}

/** Options of {@link Image.bake}. */
export interface BakeOptions
  extends Omit<ImageVmOptions, "detached" | "name" | "warm" | "command"> {
  /** Runs in the fresh machine; what it leaves in memory is what every warm start begins with. */
  readonly warmup?: (vm: Vm) => Promise<void>;
  /** Tells warm-ups of one configuration apart; `Vm.start` takes it as `warm`. */
  readonly tag?: string;
  /** Bakes anew though there is one already: the warm-up has changed. Default false. */
  readonly force?: boolean;
}

/** What {@link Image.bake} made, or found. */
export interface BakedImage {
  /** The snapshot, which `Vm.restore` takes as well. */
  readonly directory: string;
  /** It was there already, and the warm-up did not run. */
  readonly reused: boolean;
}

/** An image of a store, from which machines start. */
export class Image {
  /** What the store knows of it. */
  readonly stored: StoredImage;
  readonly #store: ImageStore;

  private constructor(stored: StoredImage, store: ImageStore) {
    this.stored = stored;
    this.#store = store;
  }

  /**
   * Finds an image by name.
   *
   * @throws `OciError` ERR_OCI_IMAGE_NOT_FOUND, ERR_OCI_BAD_REFERENCE.
   */
  static async open(name: string, store: ImageStore = new ImageStore()): Promise<Image> {
    return new Image(await store.get(name), store);
  }

  get name(): string {
    return this.stored.name;
  }

  get digest(): string {
    return this.stored.digest;
  }

  /** {@link Vm.start} with this image. */
  async start(options: ImageVmOptions = {}): Promise<Vm> {
    return Vm.start({ ...options, image: this.name, store: this.#store });
  }

  /**
   * Boots a machine, runs `warmup` in it, and keeps a snapshot: from then on `Vm.start` and pools go on from
   * there instead of booting, when image, configuration and kernel are the same. Needs a hypervisor that
   * saves machines.
   *
   * @throws {@link SupermachineError} ERR_SNAPSHOT_UNSUPPORTED under QEMU; what `warmup` throws; the errors of
   *   `Vm.start` and `vm.snapshot`. Nothing is kept then.
   */
  async bake({ warmup, tag, force = false, ...options }: BakeOptions = {}): Promise<BakedImage> {
    return traced("supermachine.bake", { "supermachine.image": this.name }, async () => {
      const { name: hypervisor } = await chooseHypervisor(options.hypervisor ?? "auto");
      if (hypervisor === "qemu") {
        throw new SupermachineError(
          "ERR_SNAPSHOT_UNSUPPORTED",
          `${this.name} cannot be baked here: QEMU runs the guests, whose machines cannot be saved; \`supermachine doctor\` tells why`,
        );
      }
      const all = { ...options, image: this.name, store: this.#store };
      const config = await configureMachine(all, this.stored, hypervisor);
      const warm = new WarmSnapshots(this.#store);
      const identity = { digest: this.digest, config, tag };
      const found = warm.find(identity);
      if (found !== undefined && !force) return { directory: found, reused: true };
      await using vm = await Vm.start({ ...all, warm: false });
      await warmup?.(vm);
      if (found !== undefined) await warm.remove(found);
      const directory = warm.place(identity);
      await vm.snapshot(directory);
      return { directory, reused: false };
    });
  }

  /**
   * Keeps machines ready. They start from a baked snapshot when there is one; on a hypervisor that saves
   * machines, a used one goes back to its beginning in place.
   */
  pool(options: ImagePoolOptions = {}): Pool {
    const machine = { ...options, image: this.name, store: this.#store };
    const source: PoolSource = {
      start: (signal) => startMachine({ ...machine, signal }),
      // One that has booted has no beginning to go back to: the pool starts another.
      revert: ({ machine }) => machine.revert(),
    };
    return new Pool(source, options);
  }
}
