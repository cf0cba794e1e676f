import type { PacketHeader } from "./packet-header.js";

// The counters of section 5.10.6.3 count bytes since the connection began, modulo 2^32.

/** What the guest lets us send. */
export class SendCredit {
  #bufferSize = 0;
  #forwarded = 0;
  #sent = 0;

  /** Bytes that may be sent now. A guest that claims to have read more than was sent gets nothing. */
  get available(): number {
    return Math.max(0, this.#bufferSize - ((this.#sent - this.#forwarded) >>> 0));
  }

  /** Every packet tells the sender's credit. */
  update(header: PacketHeader): void {
    this.#bufferSize = header.bufferSize;
    this.#forwarded = header.forwarded;
  }

  spend(bytes: number): void {
    this.#sent = (this.#sent + bytes) >>> 0;
  }
}

/** What we let the guest send: as much as our buffer holds and the reader has not taken. */
export class ReceiveCredit {
  readonly bufferSize: number;
  readonly #updateThreshold: number;
  #received = 0;
  #forwarded = 0;
  /** `#forwarded` as the guest knows it. */
  #advertised = 0;

  /** Both in bytes: our buffer, and how much the reader takes before the guest is told by itself. */
  constructor(bufferSize: number, updateThreshold: number) {
    this.bufferSize = bufferSize;
    this.#updateThreshold = updateThreshold;
  }

  /** Bytes that the guest may send now. */
  get available(): number {
    return this.bufferSize - ((this.#received - this.#forwarded) >>> 0);
  }

  /** Whether the guest may be waiting for room that it does not know of. */
  get isUpdateDue(): boolean {
    return (this.#forwarded - this.#advertised) >>> 0 >= this.#updateThreshold;
  }

  receive(bytes: number): void {
    this.#received = (this.#received + bytes) >>> 0;
  }

  /** The reader took bytes. */
  forward(bytes: number): void {
    this.#forwarded = (this.#forwarded + bytes) >>> 0;
  }

  /** Writes the credit into a packet that is about to be sent. */
  advertise(header: PacketHeader): void {
    header.setCredit(this.bufferSize, this.#forwarded);
    this.#advertised = this.#forwarded;
  }
}
