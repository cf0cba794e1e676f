/**
 * The transmitting half of a 16550A UART: early kernel messages and /dev/console. Input comes to a
 * guest over vsock, so nothing is ever received here.
 *
 * The registers live in shared memory because any vCPU thread may touch them; the guest serialises
 * its accesses with the driver's lock.
 */

/** I/O port of COM1, and the ports that follow. */
export const COM1_PORT = 0x3f8;
export const COM1_PORTS = 8;
/** Interrupt line of COM1. */
export const COM1_GSI = 4;

/** Bytes of shared memory that hold the registers. */
export const SERIAL_STATE_SIZE = 16;

const DATA = 0;
const INTERRUPT_ENABLE = 1;
/** Interrupt identification when read, FIFO control when written. */
const INTERRUPT_ID = 2;
const LINE_CONTROL = 3;
const MODEM_CONTROL = 4;
const LINE_STATUS = 5;
const MODEM_STATUS = 6;
/** The divisor latch is kept behind the eight registers. */
const DIVISOR = 8;
const TRANSMIT_PENDING = 10;

const IER_TRANSMIT_EMPTY = 0x02;
const IIR_NONE = 0x01;
const IIR_TRANSMIT_EMPTY = 0x02;
const IIR_FIFO_ENABLED = 0xc0;
const LCR_DIVISOR_LATCH = 0x80;
const MCR_LOOPBACK = 0x10;
const LSR_TRANSMITTER_EMPTY = 0x60;
const MSR_CARRIER_CTS_DSR = 0xb0;

export interface SerialHost {
  /** A byte the guest transmitted. */
  transmit(byte: number): void;
  /** Pulses the UART's interrupt line. */
  interrupt(): void;
}

export class SerialPort {
  readonly #registers: Uint8Array;
  readonly #host: SerialHost;

  /** `state` holds {@link SERIAL_STATE_SIZE} bytes, shared by the ports of all vCPU threads. */
  constructor(state: SharedArrayBuffer, host: SerialHost) {
    this.#registers = new Uint8Array(state);
    this.#host = host;
  }

  /** Reads the register at `offset`, 0 to 7. */
  read(offset: number): number {
    const registers = this.#registers;
    switch (offset) {
      case DATA:
        return this.#latched() ? (registers[DIVISOR] ?? 0) : 0;
      case INTERRUPT_ENABLE:
        return (this.#latched() ? registers[DIVISOR + 1] : registers[INTERRUPT_ENABLE]) ?? 0;
      case INTERRUPT_ID: {
        const pending = registers[TRANSMIT_PENDING] === 1;
        // Reading the register acknowledges a transmitter-empty interrupt.
        registers[TRANSMIT_PENDING] = 0;
        return IIR_FIFO_ENABLED | (pending ? IIR_TRANSMIT_EMPTY : IIR_NONE);
      }
      case LINE_STATUS:
        return LSR_TRANSMITTER_EMPTY;
      case MODEM_STATUS:
        return this.#modemStatus();
      default:
        return registers[offset] ?? 0xff;
    }
  }

  /** Writes the register at `offset`, 0 to 7. */
  write(offset: number, value: number): void {
    const registers = this.#registers;
    if (offset === DATA) {
      if (this.#latched()) registers[DIVISOR] = value;
      else this.#transmit(value);
    } else if (offset === INTERRUPT_ENABLE) {
      if (this.#latched()) registers[DIVISOR + 1] = value;
      else this.#enableInterrupts(value & 0x0f);
    } else if (offset !== INTERRUPT_ID && offset < DIVISOR) {
      registers[offset] = value;
    }
  }

  #latched(): boolean {
    return ((this.#registers[LINE_CONTROL] ?? 0) & LCR_DIVISOR_LATCH) !== 0;
  }

  #transmit(byte: number): void {
    // In loopback the byte would come back as input: the driver probes so, and nobody should see it.
    if (((this.#registers[MODEM_CONTROL] ?? 0) & MCR_LOOPBACK) === 0) this.#host.transmit(byte);
    this.#raiseWhenEmpty();
  }

  #enableInterrupts(value: number): void {
    this.#registers[INTERRUPT_ENABLE] = value;
    this.#raiseWhenEmpty();
  }

  #raiseWhenEmpty(): void {
    if (((this.#registers[INTERRUPT_ENABLE] ?? 0) & IER_TRANSMIT_EMPTY) === 0) return;
    this.#registers[TRANSMIT_PENDING] = 1;
    this.#host.interrupt();
  }

  /** In loopback the four modem outputs read back as the four modem inputs. */
  #modemStatus(): number {
    const control = this.#registers[MODEM_CONTROL] ?? 0;
    if ((control & MCR_LOOPBACK) === 0) return MSR_CARRIER_CTS_DSR;
    const requestToSend = (control & 0x02) << 3;
    const terminalReady = (control & 0x01) << 5;
    const outputs = (control & 0x0c) << 4;
    return requestToSend | terminalReady | outputs;
  }
}
