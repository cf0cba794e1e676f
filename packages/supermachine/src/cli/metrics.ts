import { toPrometheus } from "../metrics/prometheus.js";
import { Vm } from "../vm.js";

/** `supermachine metrics`: of the machines named, or of all that run. */
export async function printMetrics(names: readonly string[]): Promise<void> {
  const machines = names.length > 0 ? names : (await Vm.list()).map(({ id }) => id);
  const metrics = await Promise.all(
    machines.map(async (name) => {
      try {
        const vm = await Vm.connect(name);
        try {
          return [await vm.metrics()];
        } finally {
          vm.close();
        }
      } catch (error) {
        // One that was listed may have ended meanwhile; one that was asked for must be there.
        if (names.length > 0) throw error;
        return [];
      }
    }),
  );
  process.stdout.write(toPrometheus(metrics.flat()));
}
