import type { Settings } from "../options.js";
import { CACHE_WAYS, MAX_SLOTS, type NodeMemorySize } from "./node-memory.js";

/**
 * Divides what the options allow: how much of `maxFds` goes to caches of the threads, and how much to nodes that
 * need an fd each. Where file handles work, hardly any does.
 */
export function memorySize(
  settings: Settings,
  threads: number,
  hasFileHandles: boolean,
): NodeMemorySize {
  const share = hasFileHandles ? 0.75 : 0.25;
  // With several threads, the first only owns the memory.
  const waysOfAll = CACHE_WAYS * Math.max(1, threads - 1);
  const cacheSets = Math.max(1, Math.floor((settings.maxFds * share) / waysOfAll));
  return {
    // Slot 0 stands for none.
    slots: Math.min(settings.maxInodes + 1, MAX_SLOTS),
    handles: Math.min(settings.maxHandles, MAX_SLOTS - 1),
    threads,
    cacheSets,
    maxPinned: Math.max(0, settings.maxFds - cacheSets * waysOfAll),
  };
}
