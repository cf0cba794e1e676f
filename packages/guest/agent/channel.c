#include "channel.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

/* As many as there can be sessions: a connection that finds no room here is reset. */
enum { BACKLOG = 1024 };

static const char *directory;

union address {
	struct sockaddr any;
	struct sockaddr_un local;
	struct sockaddr_vm vm;
};

void channel_use_directory(const char *path) { directory = path; }

static socklen_t make_address(union address *out, unsigned cid, unsigned port) {
	if (directory) {
		out->local = (struct sockaddr_un){.sun_family = AF_UNIX};
		snprintf(out->local.sun_path, sizeof out->local.sun_path, "%s/%u", directory, port);
		return sizeof out->local;
	}
	out->vm = (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
	return sizeof out->vm;
}

static int open_socket(void) {
	return socket(directory ? AF_UNIX : AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static int close_failed(int fd) {
	int code = errno;
	close(fd);
	errno = code;
	return -1;
}

int channel_listen(unsigned port) {
	union address address;
	socklen_t length = make_address(&address, VMADDR_CID_ANY, port);
	int fd = open_socket();
	if (fd >= 0 && (bind(fd, &address.any, length) || listen(fd, BACKLOG)))
		return close_failed(fd);
	return fd;
}

int channel_accept(int listener) {
	union address peer;
	socklen_t length = sizeof peer;
	int fd = accept4(listener, &peer.any, &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
	/* Nobody in the guest may speak for the host. */
	if (fd >= 0 && !directory && peer.vm.svm_cid != VMADDR_CID_HOST) {
		errno = EAGAIN;
		return close_failed(fd);
	}
	return fd;
}

int channel_connect(unsigned port) {
	union address address;
	socklen_t length = make_address(&address, VMADDR_CID_HOST, port);
	int fd = open_socket();
	if (fd >= 0 && connect(fd, &address.any, length) && errno != EINPROGRESS)
		return close_failed(fd);
	return fd;
}
