#include "cmdline.h"

#include <string.h>

static int hex_digit(char c) {
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes %XX in place. False on a bad escape, and on %00, which would cut the string short. */
static bool percent_decode(char *text) {
	char *to = text;
	for (char *from = text; *from; from++) {
		if (*from != '%') {
			*to++ = *from;
			continue;
		}
		int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);
		if (low < 0 || (high | low) == 0)
			return false;
		*to++ = (char)(high << 4 | low);
		from += 2;
	}
	*to = 0;
	return true;
}

/* The field up to ':', decoded; *rest moves behind it, to NULL after the last one. */
static char *take_field(char **rest) {
	char *field = *rest;
	if (!field)
		return NULL;
	char *colon = strchr(field, ':');
	if (colon)
		*colon = 0;
	*rest = colon ? colon + 1 : NULL;
	return percent_decode(field) && *field ? field : NULL;
}

static const char *add_mount(struct cmdline *out, char *value, bool disk) {
	if (out->mount_count == MOUNTS_MAX)
		return "more than 64 mounts";
	struct mount_request *mount = &out->mounts[out->mount_count++];
	char *rest = value;
	mount->source = take_field(&rest);
	mount->type = disk ? take_field(&rest) : "virtiofs";
	mount->target = take_field(&rest);
	mount->options = rest ? take_field(&rest) : "";
	if (!mount->source || !mount->type || !mount->target || !mount->options || rest || *mount->target != '/')
		return disk ? "supermachine.disk is not DEVICE:TYPE:/PATH[:OPTIONS]" : "supermachine.mount is not TAG:/PATH[:OPTIONS]";
	return NULL;
}

static const char *set(struct cmdline *out, char *name, char *value) {
	struct {
		const char *name;
		char **field;
	} const fields[] = {
		{"root", &out->root},
		{"roottype", &out->root_type},
		{"rootflags", &out->root_options},
		{"overlay", &out->overlay},
		{"hostname", &out->hostname},
		{"poweroff", &out->power_off},
	};
	if (!strcmp(name, "mount") || !strcmp(name, "disk"))
		return add_mount(out, value, *name == 'd');
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		if (!strcmp(name, fields[i].name)) {
			*fields[i].field = value;
			return percent_decode(value) ? NULL : "bad percent escape";
		}
	return "unknown supermachine option";
}

const char *cmdline_parse(const char *text, size_t length, struct cmdline *out) {
	static const char prefix[] = "supermachine.";
	memset(out, 0, sizeof *out);
	if (length >= sizeof out->text)
		return "command line too long";
	memcpy(out->text, text, length);
	out->root_type = "erofs";
	out->root_options = "";
	out->overlay = "tmpfs";
	out->hostname = "supermachine";
	out->power_off = "reboot";

	const char *wrong = NULL;
	char *rest;
	for (char *word = strtok_r(out->text, " \n", &rest); word && !wrong; word = strtok_r(NULL, " \n", &rest)) {
		char *equals = strchr(word, '=');
		if (strncmp(word, prefix, sizeof prefix - 1) || !equals)
			continue;
		*equals = 0;
		wrong = set(out, word + sizeof prefix - 1, equals + 1);
	}
	return wrong;
}
