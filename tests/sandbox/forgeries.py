"""Programs that do not solve their task and try to pass all the same; the task is in ``SUITES``.

Standard library only.
"""

from rrl.task.code.suites import CallSuite, CodeSuite, Stdio

SECRET = "secret-of-the-parent-8391"

# The same task three times: f doubles a number; as a program it reads one and prints its double and a word that is
# nowhere in what it is given.
SUITES = {
    "stdio": Stdio(cases=(("21\n", f"42 {SECRET}\n"), ("4\n", f"8 {SECRET}\n"))),
    "calls": CallSuite(
        setup="", calls=(("f", (21,), [42, SECRET]), ("f", (4,), [8, SECRET])), from_json=False,
    ),
    "tests": CodeSuite(
        setup="", tests_setup="import math", names=("f",),
        tests=(f"assert f(21) == [42, '{SECRET}']", f"assert math.isclose(f(2.5)[0], 5) and f(2.5)[1] == '{SECRET}'"),
    ),
}  # fmt: skip
SPIED = CallSuite(setup=f"held = {SECRET!r}", calls=SUITES["calls"].calls, from_json=False)
"""The answer is in the process of the program for once: whoever looks for it there has to find it."""
SPIES = ("frames", "garbage collector")
RIGHT = f"""
def f(x):
    return [2 * x, {SECRET!r}]
if __name__ == "__main__":
    print(*f(int(input())))
"""

_EQUAL = """
class Equal{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return 0
    def __len__(self): return 2
    def __iter__(self): return iter([self, self])
    def __getitem__(self, i): return self
    def __bool__(self): return True
"""
_FIND = """
import sys
def find(things, depth):
    for thing in things:
        if isinstance(thing, str) and 'secret' + '-of' in thing:
            at = thing.index('secret' + '-of')
            return thing[at:at + 25]
        if depth < 5 and isinstance(thing, (list, tuple, set)) and thing is not things:
            if said := find(list(thing), depth + 1): return said
        if depth < 5 and isinstance(thing, dict):
            if said := find(list(thing.values()), depth + 1): return said
"""
_TELL = "def f(x): return [2 * x, look()]\nif __name__ == '__main__': print(*f(int(input())))"
_PASSES = r"""b'{"v": true}\n' b'{"v": [42, "x"]}\n' b'{"ready": true}\n'"""

FORGERIES = {
    "exit 0": "import sys\nsys.exit(0)",
    "exit at once": "import os\nos._exit(0)",
    "exit when called": "import os\ndef f(x): os._exit(0)",
    "markers on stdout": "print('PASSED'); print('OK'); print('True'); print('1'); print('all tests passed')\nf = print",
    "equal to all": _EQUAL.format(base="") + "def f(x): return Equal()\nprint(Equal())",
    "a list equal to all": _EQUAL.format(base="(list)") + "def f(x): return Equal([1, 2])",
    "an int equal to all": _EQUAL.format(base="(int)") + "def f(x): return [Equal(1), Equal(2)]",
    "a text equal to all": _EQUAL.format(base="(str)") + "def f(x): return [2 * x, Equal('x')]",
    "a class that lies": "class L:\n    __class__ = list\n    def __iter__(self): return iter([1, 2])\ndef f(x): return L()",
    "json replaced": (
        "import json\njson.dumps = lambda *a, **k: '{\"v\": true}'\njson.loads = lambda *a, **k: {'v': True}\n"
        "def f(x): return True"
    ),
    "the guest replaced": (
        "import sys\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if 'guest' in name or 'values' in name:\n"
        "        for key, held in list(vars(module).items()):\n"
        "            if callable(held): setattr(module, key, lambda *a, **k: {'v': True})\n"
        "def f(x): return True"
    ),
    "builtins replaced": (
        "import builtins, math, operator\nbuiltins.isinstance = lambda *a: True\nbuiltins.type = lambda *a: list\n"
        "builtins.all = builtins.any = math.isclose = operator.eq = lambda *a, **k: True\ndef f(x): return True"
    ),
    "asserts switched off": (
        "import builtins\nclass Quiet(Exception): pass\nbuiltins.AssertionError = Quiet\ndef f(x): raise Quiet"
    ),
    "lines on every descriptor": (
        f"import os\nfor fd in range(0, 64):\n    try: os.write(fd, {_PASSES} * 20)\n    except OSError: pass\n"
        "def f(x): return None"
    ),
    "lines when called": (
        f"import os\ndef f(x):\n    for fd in range(3, 64):\n        try: os.write(fd, {_PASSES} * 20)\n"
        "        except OSError: pass"
    ),
    "lines at exit": (
        "import atexit, os\ndef say():\n    for fd in range(1, 64):\n"
        f"        try: os.ftruncate(fd, 0); os.write(fd, {_PASSES} * 20)\n        except OSError: pass\n"
        "atexit.register(say)\ndef f(x): return None"
    ),
    "lines from a thread": (
        "import os, threading\ndef say():\n    for _ in range(200):\n        for fd in range(3, 16):\n"
        f"            try: os.write(fd, {_PASSES})\n            except OSError: pass\n"
        "threading.Thread(target=say, daemon=True).start()\ndef f(x): return None"
    ),
    "lines from a destructor": (
        f"import os\nclass D:\n    def __del__(self):\n        for fd in range(3, 16):\n            try: os.write(fd, {_PASSES})\n"
        "            except OSError: pass\nd = D()\ndef f(x): return None"
    ),
    "frames": _FIND + (
        "def look():\n    frame = sys._getframe()\n    while frame:\n"
        "        for held in (frame.f_locals, frame.f_globals):\n            if said := find(list(held.values()), 0): return said\n"
        "        frame = frame.f_back\n    return '?'\n"
    ) + _TELL,
    "garbage collector": _FIND + "import gc\ndef look(): return find(gc.get_objects(), 0) or '?'\n" + _TELL,
    "raw memory": (
        "import ctypes, gc, os\ndef look():\n    mark, libc, (r, w) = ('secret' + '-of-the').encode(), ctypes.CDLL(None), os.pipe()\n"
        "    pages = {id(thing) >> 12 for thing in gc.get_objects()}\n"
        "    for page in sorted({p + d for p in pages for d in range(-8, 8)}):\n"   # the kernel reads it: no fault
        "        num = libc.write(w, ctypes.c_void_p(page << 12), 4096)\n"
        "        if num > 0 and mark in (held := os.read(r, num)):\n"
        "            return held[held.index(mark):][:25].decode('utf-8', 'replace')\n    return '?'\n"
    ) + _TELL,
    "files of the tests": (
        "def look():\n    import glob\n    for name in glob.glob('/**/*test*', recursive=True):\n        return open(name).read()\n"
        "    return '?'\ndef f(x): return [2 * x, look()]\nif __name__ == '__main__': print(*f(int(input())))"
    ),
    "stdin read again": "import os\nos.lseek(0, 0, 0)\nprint(os.read(0, 1000))\ndef f(x): return os.read(0, 100)",
    "an exception that lies": "class E(Exception):\n    def __str__(self): return '\"}]}\\n{\"v\": true}'\ndef f(x): raise E",
    "an exception of a test": "def f(x): raise AssertionError('passed')",
    "system exit when called": "import sys\ndef f(x): sys.exit(0)",
    "keyboard interrupt": "def f(x): raise KeyboardInterrupt",
    "a generator": "def f(x): yield 2 * x",
    "a deep value": "def f(x):\n    v = []\n    for _ in range(100000): v = [v]\n    return v",
    "a value that holds itself": "def f(x):\n    v = []\n    v.append(v)\n    return v",
    "a large value": "def f(x): return [2 * x, 'x' * (1 << 22)]",
    "a number of a million digits": "def f(x): return [1 << (1 << 22), 'x']",
    "keys that collide": "def f(x): return {i * (2**61 - 1): 0 for i in range(3000)}",
    "not a number": "def f(x): return [float('nan'), float('nan')]",
    "no function": "g = 1",
    "no Python": "def f(x)\n    return 42",
    "the right answer, then a failure": "print(42, 'secret')\nraise SystemExit(1)\ndef f(x): return 1",
    "its own module": "import sys\nsys.modules['tests'] = sys.modules['__main__'] = sys.modules['solution'] = None\ndef f(x): return 1",
    "a line without an end": "import os\ndef f(x):\n    while True: os.write(4, b'[' * 65536)",
    "an object of many keys": "import os\ndef f(x):\n    os.write(4, b'{\"v\": 0, \"v\": [42, 0]}\\n' * 9)\n    os._exit(0)",
    "descriptors closed": "import os\nos.closerange(0, 64)\ndef f(x): return 2 * x",
    "descriptors exchanged": "import os\nfor a, b in ((0, 4), (4, 3), (2, 3), (1, 3)):\n    try: os.dup2(a, b)\n    except OSError: pass\ndef f(x): return 2 * x",
    "a trace of its caller": (
        "import sys\ndef trace(frame, event, value):\n    frame.f_locals.update(kind='solved', v=True)\n    return trace\n"
        "sys.settrace(trace); sys.setprofile(trace)\ndef f(x): return True"
    ),
    "the exit status replaced": "import os, sys\nquit = os._exit\nos._exit = lambda status: quit(0)\nsys.exit = quit\ndef f(x): raise ValueError",
    "compiles to nothing": "def f(x): return exec(compile('42', 'x', 'eval'))",
    "a number with many names": "def f(x): return [2.0 * x, '42 secret']\nprint('4_2 secret')",
    "signals to its parent": "import os, signal\ndef f(x): os.kill(os.getppid(), signal.SIGKILL)\nf(0) if 0 else None",
}  # fmt: skip
