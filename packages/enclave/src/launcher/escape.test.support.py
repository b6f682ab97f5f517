# What a program tries that wants out of its instance. Prints what came of each try, as JSON.
import ctypes, errno, json, os, resource, socket, struct, sys

libc = ctypes.CDLL(None, use_errno=True)
port, abstract = int(sys.argv[1]), sys.argv[2]
seen = {}


def code(number):
    return 'done' if number == 0 else errno.errorcode.get(number, str(number))


def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in arguments])
    return code(ctypes.get_errno() if result == -1 else 0)


def attempt(name, act):
    try:
        act()
        seen[name] = 'done'
    except OSError as error:
        seen[name] = code(error.errno)
    except ValueError:
        # What Python makes of a limit that may not be raised.
        seen[name] = 'EPERM'


def read(path):
    with open(path, 'rb') as file:
        return file.read(16)


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as end:
        end.settimeout(2)
        end.connect(address)


# The network.
attempt('host on its loopback', lambda: connect(socket.AF_INET, ('127.0.0.1', port)))
attempt('a host elsewhere', lambda: connect(socket.AF_INET, ('192.0.2.1', 80)))
attempt('a host elsewhere, over IPv6', lambda: connect(socket.AF_INET6, ('2001:db8::1', 80)))
attempt('a datagram', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53)))
attempt('socket of the host without a name in its files',
        lambda: connect(socket.AF_UNIX, '\0' + abstract))
attempt('raw packets', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt('raw TCP', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
attempt('raw ICMP', lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt('the kernel\'s audit', lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9))
attempt('virtual machine sockets', lambda: socket.socket(40, socket.SOCK_STREAM))
attempt('key service', lambda: connect(socket.AF_UNIX, '/run/kms.sock'))
seen['interfaces'] = [name for _, name in socket.if_nameindex()]

# The host's files, and the image's.
for path in ['/etc/passwd', '/root', '/home', '/proc/1/root/etc/passwd', '/sys', '/boot', '/dev/mem',
             '/dev/kmsg', '/dev/sda', '/dev/sgx_enclave', '/proc/kcore']:
    attempt(f'read {path}', lambda: os.listdir(path) if os.path.isdir(path) else read(path))
# Opened for writing only: a host whose kernel could be changed from inside is not to be changed.
for path in ['/proc/sys/kernel/core_pattern', '/proc/sys/vm/overcommit_memory',
             '/proc/sysrq-trigger', '/proc/1/oom_score_adj']:
    attempt(f'open {path} to write', lambda: os.close(os.open(path, os.O_WRONLY)))
for folder in ['sys', 'irq', 'bus', 'fs']:
    seen[f'writable below /proc/{folder}'] = [
        os.path.join(where, name) for where, _, names in os.walk(f'/proc/{folder}')
        for name in names if os.access(os.path.join(where, name), os.W_OK)]
attempt('be spared when memory is short',
        lambda: open('/proc/self/oom_score_adj', 'w', buffering=1).write('-1000\n'))
attempt('write to the image', lambda: open('/usr/lib/python3.11/os.py', 'a').close())
attempt('add to the image', lambda: open('/usr/new', 'w').close())
attempt('add to the root', lambda: open('/new', 'w').close())
attempt('alter an input', lambda: open('/data/people/people.csv', 'a').close())
attempt('add to an input', lambda: open('/data/people/new', 'w').close())
attempt('remove an input', lambda: os.unlink('/data/people/people.csv'))
attempt('make an input writable', lambda: os.chmod('/data/people/people.csv', 0o666))
attempt('link an input into the output', lambda: os.link('/data/people/people.csv', '/data/result/x'))
attempt('list sealed inputs', lambda: os.listdir('/in'))
attempt('list sealed outputs', lambda: os.listdir('/out'))
attempt('write beside sealed outputs', lambda: open('/out/result/x', 'w').close())

# Init, and its descriptors.
for name in ['mem', 'environ', 'maps', 'fd', 'cwd', 'exe', 'stack', 'syscall', 'task/1/mem']:
    path = f'/proc/1/{name}'
    attempt(f'init {name}', lambda: os.readlink(path) if name in ('cwd', 'exe') else
            os.listdir(path) if name == 'fd' else read(path))
attempt('quote by init', lambda: os.open('/proc/1/fd/3', os.O_RDWR))
attempt('end init', lambda: os.kill(1, 9))
seen['ptrace'] = call(101, 16, 1, 0, 0)
seen['limits of init'] = call(302, 1, 7, 0, ctypes.addressof(ctypes.create_string_buffer(16)))
seen['process_vm_readv'] = call(310, 1, 0, 0, 0, 0, 0)
pidfd = os.pidfd_open(1)
seen['pidfd_getfd'] = call(438, pidfd, 3, 0)
os.close(pidfd)
descriptors = {}
for fd in os.listdir('/proc/self/fd'):
    try:
        descriptors[fd] = os.readlink(f'/proc/self/fd/{fd}').split(':')[0]
    except OSError:
        pass
seen['descriptors'] = descriptors
seen['processes'] = sorted(int(name) for name in os.listdir('/proc') if name.isdigit())

# More rights.
attempt('become root', lambda: os.setuid(0))
attempt('change root', lambda: os.chroot('/tmp'))
attempt('make a device', lambda: os.mknod('/tmp/sda', 0o60666, os.makedev(8, 0)))
attempt('raise the limit of core dumps', lambda: resource.setrlimit(resource.RLIMIT_CORE, (9999, 9999)))
seen['unshare'] = call(272, 0x10000000)
seen['clone into a user namespace'] = call(56, 0x10000000 | 17, 0, 0, 0, 0)
seen['clone3'] = call(435, 0, 88)
seen['setns'] = call(308, 0, 0)
seen['mount'] = code(ctypes.get_errno() if libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) else 0)
seen['umount'] = code(ctypes.get_errno() if libc.umount2(b'/data/people', 2) else 0)
seen['fsopen'] = call(430, 0, 0)
seen['bpf'] = call(321, 0, 0, 0)
seen['perf_event_open'] = call(298, 0, 0, -1, -1, 0)
seen['keyctl'] = call(250, 0, -1, 0, 0, 0)
seen['add_key'] = call(248, 0, 0, 0, 0, 0)
seen['kexec_load'] = call(246, 0, 0, 0, 0)
seen['userfaultfd'] = call(323, 0)
seen['io_uring_setup'] = call(425, 1, 0)
seen['open_by_handle_at'] = call(304, 0, 0, 0)
seen['init_module'] = call(175, 0, 0, 0)
status = dict(line.split(':\t', 1) for line in open('/proc/self/status') if ':\t' in line)
seen['status'] = {name: status[name].strip() for name in
                  ['Uid', 'Groups', 'CapPrm', 'CapEff', 'CapAmb', 'NoNewPrivs', 'Seccomp']}
seen['core limit'] = resource.getrlimit(resource.RLIMIT_CORE)[1]
seen['terminals'] = [os.isatty(fd) for fd in (0, 1, 2)]
seen['environment'] = dict(os.environ)

with open('/data/result/good', 'w') as file:
    file.write('good')
print(json.dumps(seen))
