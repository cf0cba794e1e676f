/** What a guest writes to which port to end its machine. */

/** The keyboard controller's command port; its status when read. */
export const KEYBOARD_CONTROLLER_PORT = 0x64;
/** Pulses the processor's reset line, by which PCs are restarted. */
export const PULSE_RESET_LINE = 0xfe;

/** The sleep control register of hardware-reduced ACPI (section 4.8.3.7), and its status register. */
export const SLEEP_CONTROL_PORT = 0x600;
export const SLEEP_STATUS_PORT = 0x601;
/** Enters the sleep state that the other bits name; there is only one, and that is off. */
export const SLEEP_ENABLE = 1 << 5;
