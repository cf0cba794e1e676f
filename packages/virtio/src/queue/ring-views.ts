import { VirtqueueError } from "../error.js";
import type { GuestMemory, GuestMemoryView } from "../memory/guest-memory.js";
import {
  availableRingSize,
  MAX_QUEUE_SIZE,
  usedRingSize,
  VRING_AVAIL_ALIGN_SIZE,
  VRING_DESC_ALIGN_SIZE,
  VRING_USED_ALIGN_SIZE,
  vringDesc,
} from "./ring-layout.js";

/** Where the driver put a queue. */
export interface RingPlacement {
  /** Number of descriptors, a power of two up to 32768. */
  readonly size: number;
  /** Guest-physical addresses of the three parts (virtio 1.2, section 2.7). */
  readonly descriptorTable: number;
  readonly availableRing: number;
  readonly usedRing: number;
}

/** The host memory behind the three parts of a queue. */
export interface RingViews {
  readonly descriptors: DataView;
  readonly descriptorsAt: number;
  /** The rings as u16 elements, and where in them each starts. */
  readonly available: Uint16Array;
  readonly availableAt: number;
  readonly used: Uint16Array;
  readonly usedAt: number;
  readonly usedData: DataView;
}

/**
 * Finds the parts of a queue in guest memory.
 *
 * @throws VirtqueueError `ERR_VIRTIO_QUEUE_GEOMETRY` for a size, address or alignment the specification forbids.
 */
export function viewRings(memory: GuestMemory, placement: RingPlacement): RingViews {
  const { size, descriptorTable, availableRing, usedRing } = placement;
  if (!Number.isInteger(size) || size < 1 || size > MAX_QUEUE_SIZE || (size & (size - 1)) !== 0) {
    throw new VirtqueueError(
      "ERR_VIRTIO_QUEUE_GEOMETRY",
      `queue size ${size}: must be a power of two up to ${MAX_QUEUE_SIZE}`,
    );
  }
  const place = (part: string, address: number, length: number, alignment: number) => {
    const view = memory.region(address, length);
    if (view === undefined || address % alignment !== 0) {
      throw new VirtqueueError(
        "ERR_VIRTIO_QUEUE_GEOMETRY",
        `${part} at 0x${address.toString(16)}: must be ${length} bytes of guest memory aligned to ${alignment}`,
      );
    }
    return view;
  };
  const tableLength = vringDesc.size * size;
  const table = place("descriptor table", descriptorTable, tableLength, VRING_DESC_ALIGN_SIZE);
  const availableLength = availableRingSize(size);
  const available = place("available ring", availableRing, availableLength, VRING_AVAIL_ALIGN_SIZE);
  const used = place("used ring", usedRing, usedRingSize(size), VRING_USED_ALIGN_SIZE);
  return {
    descriptors: table.data,
    descriptorsAt: descriptorTable - table.guestAddress,
    available: asU16(available),
    availableAt: (availableRing - available.guestAddress) >>> 1,
    used: asU16(used),
    usedAt: (usedRing - used.guestAddress) >>> 1,
    usedData: used.data,
  };
}

function asU16({ buffer, length }: GuestMemoryView): Uint16Array {
  return new Uint16Array(buffer, 0, length >>> 1);
}
