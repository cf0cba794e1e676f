#!/bin/busybox sh
# /init of the lab's initrd: the host's root, shared over virtio-fs and never written, below a
# tmpfs overlay. Then the session script, which the host sends through a virtio-serial port.
# If a step fails this script ends, the kernel panics, QEMU exits and the host shows the console.
set -e
/bin/busybox --install -s /bin
echo "lab: init"
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in $(cat /modules/order); do insmod "/modules/$module"; done

mount -t virtiofs host /host
mount -t tmpfs -o mode=755 tmpfs /overlay
mkdir /overlay/upper /overlay/work
mount -t overlay -o lowerdir=/host,upperdir=/overlay/upper,workdir=/overlay/work overlay /root

mount --move /dev /root/dev
mount --move /proc /root/proc
mount --move /sys /root/sys
mkdir -p /root/dev/pts /root/dev/shm /root/dev/mqueue
mount -t devpts -o mode=620,ptmxmode=666 devpts /root/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /root/dev/shm
mount -t mqueue mqueue /root/dev/mqueue
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
ln -s /proc/self/fd /root/dev/fd
ln -s /proc/self/fd/0 /root/dev/stdin
ln -s /proc/self/fd/1 /root/dev/stdout
ln -s /proc/self/fd/2 /root/dev/stderr
ifconfig lo 127.0.0.1 up
hostname lab

# A fresh /run; the session binds --out from the host's root and then lets go of it.
mount -t tmpfs -o mode=755 tmpfs /root/run
mkdir -p /root/run/lab/host /root/run/lock
mount --move /host /root/run/lab/host

# Ports appear a moment after their driver.
port=/root/dev/vport0p1
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -c $port ] || sleep 0.1; done
cat $port >/root/run/lab/session.sh
exec switch_root /root /bin/sh /run/lab/session.sh
