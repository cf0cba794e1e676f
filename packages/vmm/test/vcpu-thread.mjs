import { Kvm } from "@supermachine/kvm";
import { runVcpuThread } from "@supermachine/vmm";

runVcpuThread(new Kvm());
