import { type VirtioDevice, VsockDevice } from "@supermachine/virtio";
import type { MachineConfig } from "./config.js";

/** The devices that every machine serves from this process: its vsock and its shares. */
export async function openHostDevices({ shares: wanted }: MachineConfig): Promise<{
  vsock: VsockDevice;
  shares: VirtioDevice[];
}> {
  const vsock = new VsockDevice();
  const shares: VirtioDevice[] = [];
  if (wanted.length === 0) return { vsock, shares };
  try {
    const { openShare } = await import("./share.js");
    for (const share of wanted) shares.push(openShare(share));
    return { vsock, shares };
  } catch (error) {
    for (const device of [vsock, ...shares]) device.close();
    throw error;
  }
}
