import type { DeviceBus } from "../device-bus.js";
import { VmmError } from "../errors.js";

const LIMIT_MS = 5000;
const INTERVAL_MS = 1;

/**
 * Waits until no device is at a request: it could still write to memory that has been dealt with.
 *
 * @throws VmmError `ERR_VMM_BUSY`: the machine cannot do `what`.
 */
export async function drain(bus: DeviceBus, what: string): Promise<void> {
  const deadline = performance.now() + LIMIT_MS;
  while (bus.inFlight > 0) {
    if (performance.now() > deadline) {
      throw new VmmError(
        "ERR_VMM_BUSY",
        `the machine cannot ${what}: ${bus.inFlight} requests of its devices are not done within ${LIMIT_MS} ms; try again`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}
