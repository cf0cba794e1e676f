import { ensureKernel } from "@supermachine/guest";
import { chooseHypervisor } from "../hypervisor/choice.js";
import { kvmStatus, qemuStatus } from "../hypervisor/status.js";
import { STATUS_FAILURE } from "./status.js";

/** `supermachine doctor`: returns 0 when `run` can work here. */
export async function doctor(): Promise<number> {
  const row = (name: string, usable: boolean, detail: string) =>
    process.stdout.write(`${usable ? "yes" : "no "}  ${name.padEnd(8)}${detail}\n`);
  let healthy = true;
  const check = async (name: string, look: () => Promise<string>) => {
    try {
      row(name, true, await look());
    } catch (error) {
      healthy = false;
      row(name, false, error instanceof Error ? error.message : String(error));
    }
  };
  for (const { name, usable, detail } of [kvmStatus(), await qemuStatus()]) {
    row(name, usable, detail);
  }
  await check("kernel", () => ensureKernel());
  await check("auto", async () => {
    const { name, notice } = await chooseHypervisor("auto");
    return `picks ${name}${notice === undefined ? "" : ` (${notice})`}`;
  });
  return healthy ? 0 : STATUS_FAILURE;
}
