# The session in the lab, run by /bin/sh as PID 1 below the host's root. The host puts before this
# text: lab_release, lab_modules, lab_out (may be empty), lab_stdin (0 or 1), and the function
# lab_command, which becomes the command. Ports: 2 stdin, 3 stdout, 4 stderr, 5 exit status,
# 6 heartbeat.
set -e
while sleep 5; do echo; done >/dev/vport0p6 &
mkdir -p "/lib/modules/$lab_release"
mount --bind "$lab_modules" "/lib/modules/$lab_release"
modprobe kvm-amd
if [ -n "$lab_out" ]; then
  mkdir -p "$lab_out"
  mount --bind "/run/lab/host$lab_out" "$lab_out"
fi
umount -l /run/lab/host

# Pipes, not the ports themselves: a port opens only once and is no pipe to programs that look.
cd /run/lab
mkfifo stdin stdout stderr
cat <stdout >/dev/vport0p3 &
stdout=$!
cat <stderr >/dev/vport0p4 &
stderr=$!
if [ "$lab_stdin" = 1 ]; then cat </dev/vport0p2 >stdin & else : >stdin & fi

group=/sys/fs/cgroup/lab
mkdir $group
(echo 0 >$group/cgroup.procs && lab_command) <stdin >stdout 2>stderr &
set +e
wait $!
status=$?

# What the command left running dies with it, or the pipes would never end.
echo 1 >$group/cgroup.kill
wait $stdout $stderr
sync
echo $status >/dev/vport0p5
exec sleep 1000 # the host ends the machine
