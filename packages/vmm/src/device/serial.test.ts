import { expect, test } from "vitest";
import { SERIAL_STATE_SIZE, SerialPort } from "./serial.js";

function create() {
  const sent: number[] = [];
  let interrupts = 0;
  const port = new SerialPort(new SharedArrayBuffer(SERIAL_STATE_SIZE), {
    transmit: (byte) => sent.push(byte),
    interrupt: () => interrupts++,
  });
  return { port, sent, interrupts: () => interrupts };
}

test("a transmitted byte reaches the host and the transmitter is always ready", () => {
  const { port, sent } = create();
  port.write(0, 0x41);
  expect(sent).toEqual([0x41]);
  expect(port.read(5) & 0x20).toBe(0x20);
});

test("the divisor latch hides the data register", () => {
  const { port, sent } = create();
  port.write(3, 0x83);
  port.write(0, 0x0c);
  port.write(1, 0x01);
  expect([port.read(0), port.read(1)]).toEqual([0x0c, 0x01]);
  port.write(3, 0x03);
  expect(port.read(1)).toBe(0);
  expect(sent).toEqual([]);
});

test("enabling the transmitter interrupt raises it, and reading its cause acknowledges it", () => {
  const { port, interrupts } = create();
  port.write(1, 0x02);
  expect(interrupts()).toBe(1);
  expect(port.read(2) & 0x0f).toBe(0x02);
  expect(port.read(2) & 0x0f).toBe(0x01);
  port.write(0, 0x41);
  expect(interrupts()).toBe(2);
});

test("loopback keeps probe bytes from the host and mirrors the modem lines", () => {
  const { port, sent } = create();
  port.write(4, 0x1a);
  port.write(0, 0xae);
  expect(sent).toEqual([]);
  expect(port.read(6) & 0xf0).toBe(0x90);
});
