import { CACHE_WAYS, MAX_SLOTS, type NodeMemorySize } from "./node-memory.js";
import type { Settings } from "./options.js";

/**
 * Divides what the options allow: how much of `maxFds` goes to caches of the threads, and how much to nodes that
 * need an fd each. Where file handles work, hardly any does.
 */
export function memorySize(
  settings: Settings,
  threads: number,
  hasFileHandles: boolean,
): NodeMemorySize {
  const quarter = settings.maxFds >> 2;
  const cached = hasFileHandles ? settings.maxFds - quarter : quarter;
  return {
    // Slot 0 stands for none.
    slots: Math.min(settings.maxInodes + 1, MAX_SLOTS),
    handles: Math.min(settings.maxHandles, MAX_SLOTS - 1),
    threads,
    // With several threads, the first only owns the memory.
    cacheSets: Math.max(1, Math.floor(cached / (Math.max(1, threads - 1) * CACHE_WAYS))),
    maxPinned: settings.maxFds - cached,
  };
}
