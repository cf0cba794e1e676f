/* The sockets towards the host: vsock in a guest; Unix sockets DIRECTORY/<port> when run as an ordinary process. */
#ifndef CHANNEL_H
#define CHANNEL_H

void channel_use_directory(const char *directory);

/* Each returns a non-blocking, close-on-exec socket, or -1 with errno. A connection may still be in progress. */
int channel_listen(unsigned port);
int channel_accept(int listener);
int channel_connect(unsigned port);

#endif
