/**
 * The worker thread of one vCPU: names the driver for the machine that started it.
 *
 * @packageDocumentation
 */
import { Kvm } from "@supermachine/kvm";
import { runVcpuThread } from "@supermachine/vmm";

runVcpuThread(new Kvm());
