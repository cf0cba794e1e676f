/* Prints what the agent understands of the command line in its argument, NUL-separated. */
#include <stdio.h>
#include <string.h>

#include "../agent/cmdline.h"

static void print(const char *text) { fwrite(text ? text : "(none)", 1, (text ? strlen(text) : 6) + 1, stdout); }

int main(int argc, char **argv) {
	static struct cmdline cmdline;
	for (int i = 1; i < argc; i++) {
		const char *wrong = cmdline_parse(argv[i], strlen(argv[i]), &cmdline);
		if (wrong) {
			fprintf(stderr, "%s\n", wrong);
			return 1;
		}
		print(cmdline.root);
		print(cmdline.hostname);
		for (int j = 0; j < cmdline.mount_count; j++) {
			print(cmdline.mounts[j].source);
			print(cmdline.mounts[j].type);
			print(cmdline.mounts[j].target);
			print(cmdline.mounts[j].options);
		}
	}
	return 0;
}
