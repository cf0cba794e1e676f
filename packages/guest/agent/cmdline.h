/* What the kernel command line says to the agent. src/command-line.ts writes it. */
#ifndef CMDLINE_H
#define CMDLINE_H

#include <stdbool.h>
#include <stddef.h>

enum { CMDLINE_MAX = 8192, MOUNTS_MAX = 64 };

/* supermachine.mount=TAG:/path[:options] (virtio-fs), supermachine.disk=/dev/vdb:fstype:/path[:options];
 * options are a comma-separated list; `ro` and those of the file system. Fields are percent-encoded. */
struct mount_request {
	char *source, *type, *target, *options;
};

struct cmdline {
	char *root;          /* supermachine.root=      device of the root file system; none: stay in the initramfs */
	char *root_type;     /* supermachine.roottype=  erofs unless given */
	char *root_options;  /* supermachine.rootflags= */
	char *overlay;       /* supermachine.overlay=   tmpfs (the default), none, or a device with ext4 for the upper layer */
	char *hostname;      /* supermachine.hostname= */
	char *power_off;     /* supermachine.poweroff=  reboot (the default), poweroff, halt */
	struct mount_request mounts[MOUNTS_MAX];
	int mount_count;
	char text[CMDLINE_MAX]; /* all strings point in here */
};

/* Parses `text`, replacing what was in `out`. Returns NULL, or what is wrong. */
const char *cmdline_parse(const char *text, size_t length, struct cmdline *out);

#endif
