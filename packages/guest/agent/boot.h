/* From the initramfs to the image's root: mounts, identity, and back down again. */
#ifndef BOOT_H
#define BOOT_H

#include <stddef.h>

/* Sets the machine up as the kernel command line says. Returns 0, or -1 with the failing step in `error`. */
int boot(char *error, size_t size);

/* Writes everything back, as far as that is done within 10 s, and ends the machine as the command line says. */
_Noreturn void power_off(void);

#endif
