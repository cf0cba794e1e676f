import { join } from "node:path";
import { SupermachineError } from "../errors.js";
import { register } from "../registry.js";
import { RuntimeDirectory } from "../runtime-directory.js";
import type { LogSource, VmExit } from "./config.js";
import type { StartParams } from "./control/protocol.js";
import {
  type ControlHandler,
  ControlServer,
  numberParameter,
  stringParameter,
} from "./control/server.js";
import { currentPlace, type VmDescription, type VmParameters } from "./description.js";
import type { MachineHost } from "./host.js";
import { MachineRecord } from "./record.js";
import { serveVsock } from "./vsock-socket.js";

type Parameters = Record<string, unknown>;

/** Builds the machine that a client asks for. */
export type StartMachine = (params: StartParams, record: MachineRecord) => Promise<MachineHost>;

/**
 * Offers one machine to the other processes of its user: a runtime directory with its control socket, its
 * vsock, and the file by which it is found. All of it is gone when the machine is.
 */
export class MachineService implements ControlHandler {
  /** What the machine prints and what happens to it, from before it starts. */
  readonly record = new MachineRecord();
  readonly #directory = new RuntimeDirectory();
  readonly #onStart: StartMachine | undefined;
  #control: ControlServer | undefined;
  #vsock: Disposable | undefined;
  #description: VmDescription | undefined;
  #host: MachineHost | undefined;
  #release: (exit: VmExit) => void = () => {};
  readonly #released = new Promise<VmExit>((resolve) => {
    this.#release = resolve;
  });

  private constructor(onStart: StartMachine | undefined) {
    this.#onStart = onStart;
  }

  /** `onStart` builds the machine when a client asks for it, once; without, {@link serve} gets one. */
  static async open(onStart?: StartMachine): Promise<MachineService> {
    const service = new MachineService(onStart);
    try {
      service.#control = await ControlServer.listen(join(service.directory, "control"), service);
      return service;
    } catch (error) {
      await service.close();
      throw error;
    }
  }

  get directory(): string {
    return this.#directory.path;
  }

  /** Takes the machine's name. @throws {@link SupermachineError} ERR_VM_NAME_TAKEN. */
  async register(vm: VmParameters): Promise<VmDescription> {
    const { id } = this.#directory;
    const description = { name: id, ...vm, id, ...currentPlace(), createdAt: Date.now() };
    await register(this.directory, description);
    this.#description = description;
    return description;
  }

  /** Offers a machine that runs. When it ends, everything of the service does. */
  async serve(host: MachineHost): Promise<void> {
    this.#host = host;
    void host.exited.then((exit) => {
      this.#removeFiles();
      this.#release(exit);
    });
    this.#vsock = await serveVsock(host.vsock, join(this.directory, "vsock"));
  }

  /** Settles when the machine has ended and its files are gone. */
  get released(): Promise<VmExit> {
    return this.#released;
  }

  /** Idempotent. Resolves when the last answers have left. */
  async close(): Promise<void> {
    this.record.close();
    this.#removeFiles();
    await this.#control?.close();
  }

  async request(method: string, params: Parameters): Promise<unknown> {
    if (method === "start") return this.#start(params as unknown as StartParams);
    if (method === "describe") return this.#describe();
    if (method === "exited") return this.released;
    if (method === "status" && this.#host === undefined) return "starting";
    const host = this.#running();
    switch (method) {
      case "status":
        return host.status();
      case "health":
        return host.health(given({ timeoutMs: numberParameter(params, "timeoutMs") }));
      case "pause":
        return host.pause();
      case "resume":
        return host.resume();
      case "save": {
        const directory = stringParameter(params, "directory");
        if (directory === undefined) throw new SupermachineError("ERR_OPTION", "no directory");
        return host.save(directory, given({ base: stringParameter(params, "base") }));
      }
      case "revert":
        return host.revert();
      case "metrics":
        return host.metrics({ guest: params["guest"] === true });
      case "setMemoryTarget":
        return host.setMemoryTarget(numberParameter(params, "memoryMiB") ?? Number.NaN);
      case "stop":
        await host.stop(given({ timeoutMs: numberParameter(params, "timeoutMs") }));
        return this.released;
      case "kill":
        await host.kill();
        return this.released;
      default:
        throw new SupermachineError(
          "ERR_VM_PROTOCOL",
          `the machine's process knows no request ${JSON.stringify(method.slice(0, 40))}`,
        );
    }
  }

  stream(
    name: string,
    params: Parameters,
    signal: AbortSignal,
  ): AsyncIterable<unknown> | undefined {
    if (name === "events") return this.record.events({ signal });
    if (name !== "logs") return undefined;
    const source = stringParameter(params, "source") as LogSource | undefined;
    const since = numberParameter(params, "since");
    return this.record.logs({
      follow: params["follow"] === true,
      ...given({ since, source }),
      signal,
    });
  }

  async #start(params: StartParams): Promise<VmDescription> {
    const onStart = this.#onStart;
    if (onStart === undefined || this.#description !== undefined) {
      throw new SupermachineError("ERR_VM_PROTOCOL", "the machine has been started already");
    }
    const description = await this.register(params.vm);
    await this.serve(await onStart(params, this.record));
    return description;
  }

  #describe(): VmDescription {
    if (this.#description === undefined) throw notStarted();
    return this.#description;
  }

  #running(): MachineHost {
    if (this.#host === undefined) throw notStarted();
    return this.#host;
  }

  #removeFiles(): void {
    this.#vsock?.[Symbol.dispose]();
    this.#directory[Symbol.dispose]();
  }
}

function notStarted(): SupermachineError {
  return new SupermachineError("ERR_VM_STOPPED", "the machine is not up yet: try again");
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** Without the properties that are undefined, which are not the same as missing ones to a callee. */
function given<T extends object>(options: T): Given<T> {
  return Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as Given<T>;
}
