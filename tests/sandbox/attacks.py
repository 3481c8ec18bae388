"""Programs that try to do harm. Each prints ``<through>`` where it could; none of them solves anything.

Standard library only: the suite also runs under another user's interpreter.
"""

# Names of calls -> number on x86_64; elsewhere these attacks are made through Python alone.
CALLS = {
    "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_open": 434, "pidfd_getfd": 438,
    "io_uring_setup": 425, "bpf": 321, "keyctl": 250, "add_key": 248, "userfaultfd": 323, "perf_event_open": 298,
    "unshare": 272, "setns": 308, "mount": 165, "pivot_root": 155, "chroot": 161, "shmget": 29, "semget": 64,
    "msgget": 68, "mq_open": 240, "memfd_create": 319, "memfd_secret": 447, "execveat": 322, "newfstatat": 262,
    "statx": 332, "open_by_handle_at": 304, "name_to_handle_at": 303, "kill": 62, "tkill": 200, "rt_sigqueueinfo": 129,
    "pidfd_send_signal": 424, "vfork": 58, "openat2": 437, "init_module": 175, "kcmp": 312, "sched_setaffinity": 203,
    "setpriority": 141, "fanotify_init": 300, "inotify_init1": 294, "signalfd4": 289, "timer_create": 222,
    "socketpair": 53, "setrlimit": 160, "prctl": 157, "seccomp": 317, "landlock_create_ruleset": 444, "personality": 135,
    "modify_ldt": 154, "iopl": 172, "reboot": 169, "swapon": 167, "sethostname": 170, "settimeofday": 164, "syslog": 103,
    "quotactl": 179, "acct": 163, "vhangup": 153, "readlink": 89, "mknod": 133, "link": 86, "symlink": 88, "chmod": 90,
    "chown": 92, "utimensat": 280, "truncate": 76, "rename": 82, "unlink": 87, "rmdir": 84, "getdents64": 217,
    "epoll_create1": 291, "eventfd2": 290, "splice": 275, "vmsplice": 278, "remap_file_pages": 216, "mlock": 149,
}  # fmt: skip

HEAD = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    result = libc.syscall(number, *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return result
def refused(number):
    libc.syscall(number, 0, 0, 0, 0, 0, 0)
    if ctypes.get_errno() not in (1, 38):
        os.write(1, b"<through>")
def tried(action):
    try:
        action()
    except (OSError, MemoryError, ValueError, RuntimeError):
        return
    os.write(1, b"<through>")
"""

# {file}: a canary, writable by all.  {folder}: where it lies.  {victim}: pid of a sleeping process.  {trainer}: pid of
# the process that holds the sandbox, whose environment has RRL_SECRET.  {allowed}: numbers of the calls that a program
# may make with any arguments.
ATTACKS = {
    # ---- processes
    "fork": "tried(lambda: os.fork() or os._exit(0))",
    "fork bomb": "while True:\n    try: os.fork()\n    except OSError: break\n    os.write(1, b'<through>')",
    "daemon": "tried(lambda: os.fork() and os._exit(0)); tried(os.setsid)\nimport time; time.sleep(0.1)",
    "clone without a thread": "tried(lambda: call(56, 17, 0, 0, 0, 0) or os._exit(0))",
    "clone of a thread into a namespace": "tried(lambda: call(56, 0x3d0f00 | 0x10000000, 0, 0, 0, 0))",
    "clone3": "tried(lambda: call(435, ctypes.create_string_buffer(88), 88) or os._exit(0))",
    "subprocess": "import subprocess\ntried(lambda: subprocess.run(['/bin/true']))",
    "multiprocessing by hand": "import _posixsubprocess\ntried(lambda: os.posix_spawn('/bin/true', ['true'], {{}}))",
    "exec": "tried(lambda: os.execv('/bin/sh', ['sh', '-c', 'echo \"<through>\"']))",
    "system": "if os.system('true') == 0: os.write(1, b'<through>')",
    "exec of a file in memory": "tried(lambda: os.execve(os.memfd_create('x'), ['x'], {{}}))",
    "thread bomb": (
        "import threading, time\nthreading.stack_size(32768)\nnum = 0\n"
        "try:\n    while num < 3000:\n        threading.Thread(target=time.sleep, args=(1,), daemon=True).start(); num += 1\n"
        "except (RuntimeError, MemoryError): pass\nif num > 200: os.write(1, b'<through>')"
    ),
    # ---- other processes
    "kill the zygote": "tried(lambda: os.kill(os.getppid(), 9))",
    "kill the trainer": "tried(lambda: os.kill({trainer}, 9))",
    "kill a sibling": "tried(lambda: os.kill({victim}, 9))",
    "kill everything": "tried(lambda: os.kill(-1, 9))",
    "kill the group": "tried(lambda: os.killpg(os.getpgrp(), 9))",
    "kill by tgkill": "tried(lambda: call(234, {victim}, {victim}, 9))",
    "signal by a file's owner": (
        "import fcntl\nr, w = os.pipe()\n"
        "tried(lambda: (fcntl.fcntl(r, 8, {victim}), fcntl.fcntl(r, 10, 9), fcntl.fcntl(r, 4, 0o20000)))\nos.write(w, b'x')"
    ),
    "signal by FIOASYNC": "import fcntl\nr, w = os.pipe()\ntried(lambda: fcntl.ioctl(r, 0x5452, b'\\1\\0\\0\\0'))",
    "limits of a sibling": "import resource\ntried(lambda: resource.prlimit({victim}, resource.RLIMIT_CPU, (1, 1)))",
    "read a sibling's memory": "tried(lambda: open('/proc/{victim}/mem', 'rb').read(1))",
    "read a sibling's environment": "tried(lambda: open('/proc/{victim}/environ').read())",
    "read the trainer's environment": "tried(lambda: open('/proc/{trainer}/environ').read())",
    "read the environment of process 1": "tried(lambda: open('/proc/1/environ').read())",
    "read its zygote's memory": "tried(lambda: open('/proc/%d/mem' % os.getppid(), 'rb').read(1))",
    "its own environment": "os.environ and os.write(1, b'<through>')",
    "the trainer's environment, left in memory": (
        "import gc\nlibc.getenv.restype = ctypes.c_char_p\nif libc.getenv(b'RRL_SECRET'): os.write(1, b'<through>')\n"
        "r, w = os.pipe()\nstack = ctypes.addressof(ctypes.c_void_p.in_dll(libc, 'environ'))\n"
        "at = ctypes.c_void_p.from_address(stack).value or 0\n"
        "for page in range((at >> 12) - 4, (at >> 12) + 16):\n"
        "    if libc.write(w, ctypes.c_void_p(page << 12), 4096) == 4096 and b'rrl-' + b'secret' in os.read(r, 4096):\n"
        "        os.write(1, b'<through>')"
    ),
    "its own memory by /proc": "tried(lambda: open('/proc/self/mem', 'r+b'))",
    "priority": "tried(lambda: os.nice(-5))",
    "a sibling's core": "tried(lambda: os.sched_setaffinity({victim}, [0]))",
    # ---- files
    "read /etc/passwd": "tried(lambda: open('/etc/passwd').read())",
    "read a home": "import os.path\ntried(lambda: os.listdir(os.path.expanduser('~root')))",
    "list the root": "tried(lambda: os.listdir('/'))",
    "stat": "tried(lambda: os.stat('/etc/passwd'))",
    "stat by an open file": "tried(lambda: call(262, 0, b'/etc/passwd', ctypes.create_string_buffer(256), 0x1000))",
    "readlink": "tried(lambda: os.readlink('/proc/self/exe'))",
    "read the canary": "tried(lambda: open('{file}').read())",
    "write the canary": "tried(lambda: open('{file}', 'w').write('gone'))",
    "truncate the canary": "tried(lambda: os.truncate('{file}', 0))",
    "remove the canary": "tried(lambda: os.unlink('{file}'))",
    "rename the canary": "tried(lambda: os.rename('{file}', '{file}2'))",
    "make a folder": "tried(lambda: os.mkdir('{folder}/made'))",
    "link": "tried(lambda: os.link('{file}', '{folder}/linked'))",
    "symlink": "tried(lambda: os.symlink('{file}', '{folder}/symlinked'))",
    "mode": "tried(lambda: os.chmod('{file}', 0o000))",
    "device": "tried(lambda: os.mknod('{folder}/device', 0o020666, os.makedev(1, 3)))",
    "write /dev/shm": "tried(lambda: open('/dev/shm/rrl_attack', 'w').write('x'))",
    "write /tmp": "import tempfile\ntried(lambda: tempfile.TemporaryFile())",
    "large file": "tried(lambda: open('{folder}/large', 'wb').write(bytes(1 << 20)))",
    "many small files": "for i in range(100): tried(lambda: open('{folder}/small%d' % i, 'w').write('x'))",
    "terminal": "tried(lambda: open('/dev/tty').read(1))",
    "write into the terminal": "import fcntl\ntried(lambda: fcntl.ioctl(0, 0x5412, b'x'))",
    "a lock on what it shares": "import fcntl\ntried(lambda: fcntl.flock(1, 2))\ntried(lambda: fcntl.lockf(1, 2))",
    "seals on what it shares": "import fcntl\ntried(lambda: fcntl.fcntl(1, 1033, 15))",
    "every other command of fcntl": (
        "import fcntl\nfor command in [*range(5, 64), *range(1024, 1030), *range(1031, 1060)]:\n"
        "    tried(lambda: fcntl.fcntl(1, command, 0))"
    ),
    "larger pipes": "import fcntl\nr, w = os.pipe()\ntried(lambda: fcntl.fcntl(w, 1031, 1 << 24))",
    "many descriptors": (
        "held = []\ntry:\n    while True: held.append(os.dup(1))\nexcept OSError: pass\n"
        "if len(held) > 40: os.write(2, b'<through>')"
    ),
    "the result cut off": "os.write(1, b'42\\n'); os.ftruncate(1, 0); os.close(1)",
    "inherited files": (
        "for fd in range(3, 5000):\n    try: os.close(os.dup(fd))\n    except OSError: continue\n    os.write(1, b'<through>')"
    ),
    "change root": "tried(lambda: os.chroot('/tmp'))",
    "leave its folder": "tried(lambda: os.chdir('/tmp'))",
    "import of a file": "sys.path[:] = ['/usr/lib/python3']\ntried(lambda: __import__('this_is_nowhere'))",
    # ---- calls
    "every other call": (
        "allowed = {allowed}\nfor number in range(1024):\n    if number in allowed: continue\n"
        "    for filler in (0, -1):\n        if libc.syscall(number, *[ctypes.c_long(filler)] * 6) >= 0 or "
        "ctypes.get_errno() not in (1, 25, 38):\n            os.write(1, b'<through> %d' % number)"
    ),
    # ---- network
    "tcp": "import socket\ntried(lambda: socket.create_connection(('127.0.0.1', 22), 1))",
    "udp": "import socket\ntried(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))",
    "unix socket": "import socket\ntried(lambda: socket.socket(socket.AF_UNIX).connect('/run/docker.sock'))",
    "abstract socket": "import socket\ntried(lambda: socket.socket(socket.AF_UNIX).bind('\\0rrl'))",
    "raw socket": "import socket\ntried(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))",
    "netlink": "import socket\ntried(lambda: socket.socket(16, socket.SOCK_RAW, 0))",
    "names": "import socket\ntried(lambda: socket.getaddrinfo('localhost', 80))",
    # ---- power
    "root again": "tried(lambda: os.setuid(0))",
    "capabilities": "tried(lambda: call(126, ctypes.create_string_buffer(8), ctypes.create_string_buffer(24)))",
    "a filter of its own": "tried(lambda: call(317, 1, 0, 0))",
    "larger limits": (
        "import resource\ntried(lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40)))\n"
        "tried(lambda: resource.setrlimit(resource.RLIMIT_NPROC, (9999, 9999)))"
    ),
    "calls of 32 bits": (
        "import mmap\nm = mmap.mmap(-1, 4096, prot=7)\nm.write(bytes.fromhex('b814000000cd80c3'))\n"
        "f = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))\n"
        "if f() > 0: os.write(1, b'<through>')"
    ),
    "calls of x32": "tried(lambda: call(0x40000000 | 39))",
    # ---- exhaustion and ends
    "memory": "held = []\nwhile True: held.append(bytearray(1 << 24))",
    "memory that is shared": "import mmap\nheld = []\nwhile True: held.append(mmap.mmap(-1, 1 << 26)); held[-1].write(bytes(1 << 20))",
    "large number": "x = 1 << (1 << 33)",
    "output": "while True: os.write(1, bytes(1 << 16))",
    "output by seeking": "os.lseek(1, 1 << 40, 0)\ntried(lambda: os.write(1, b'x'))",
    "output by ftruncate": "tried(lambda: os.ftruncate(1, 1 << 40))",
    "errors": "while True: os.write(2, bytes(1 << 16))",
    "stdin as a store": "while True: os.write(0, bytes(1 << 16))",
    "endless loop": "while True: pass",
    "endless loop in C": "sum(iter(int, 1))",
    "endless sleep": "import time\ntime.sleep(1000)",
    "endless loop that ignores its limit": "import signal\nsignal.signal(signal.SIGXCPU, lambda *a: None)\nwhile True: pass",
    "endless loop behind blocked signals": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nwhile True: pass"
    ),
    "endless loop in a thread": "import threading\nthreading.Thread(target=lambda: all(i == 0 for i in iter(int, 1))).start()",
    "an exit handler that never ends": "import atexit\natexit.register(lambda: all(i == 0 for i in iter(int, 1)))",
    "segmentation fault": "ctypes.string_at(0)",
    "abort": "os.abort()",
    "stack": "def f(): f()\nsys.setrecursionlimit(10**9)\nf()",
    "deep source": "eval('(' * 100000 + ')' * 100000)",
    "regular expression": "import re\nre.match('(a+)+$', 'a' * 40 + 'b')",
    "main thread gone": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nlibc.syscall({exit}, 0)"
    ),
    "waits for itself": "r, w = os.pipe()\nos.read(r, 1)",
    "a lock held twice": "import threading\nlock = threading.Lock()\nlock.acquire(); lock.acquire()",
    "a destructor that never ends": "class D:\n    def __del__(self):\n        while True: pass\nd = D()\ndel d",
    "stopped": "import signal\nsignal.raise_signal(signal.SIGSTOP)",
}  # fmt: skip

RAW = {
    f"call {name}": f"refused({number})"
    for name, number in CALLS.items() if name not in ("prctl", "remap_file_pages")
}  # fmt: skip
"""Raw calls with zeros: one that is let in succeeds or answers with EFAULT or EINVAL, one that is not with EPERM."""

LATE = {name for name in ATTACKS if name.startswith("endless")} | {
    "an exit handler that never ends", "a destructor that never ends", "regular expression", "stopped",
    "main thread gone", "waits for itself", "a lock held twice",
}  # fmt: skip
"""Ended by their CPU time or by the clock."""
FEW_LATE = {"endless loop that ignores its limit", "endless sleep"}
"""Enough of them where the others have been run behind another wall."""
KILLED = {"segmentation fault", "abort", "calls of x32", "calls of 32 bits"}
NOT_ON_OTHER_MACHINES = {
    "clone without a thread", "clone of a thread into a namespace", "kill by tgkill", "stat by an open file",
    "capabilities", "a filter of its own", "calls of 32 bits", "calls of x32",
}  # fmt: skip
