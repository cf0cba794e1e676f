import type { FileWindow } from "@supermachine/hypervisor";
import { type VirtioDevice, VsockDevice } from "@supermachine/virtio";
import type { MachineConfig } from "./config.js";

/**
 * The devices that every machine serves from this process: its vsock and its shares. `createWindow` makes
 * the window of a share with DAX.
 */
export async function openHostDevices(
  { shares: wanted }: MachineConfig,
  createWindow?: (size: number) => FileWindow,
): Promise<{ vsock: VsockDevice; shares: VirtioDevice[] }> {
  const vsock = new VsockDevice();
  const shares: VirtioDevice[] = [];
  if (wanted.length === 0) return { vsock, shares };
  try {
    const { openShare } = await import("./share.js");
    for (const share of wanted) shares.push(openShare(share, createWindow));
    return { vsock, shares };
  } catch (error) {
    for (const device of [vsock, ...shares]) device.close();
    throw error;
  }
}
