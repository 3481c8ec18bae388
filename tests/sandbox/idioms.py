"""Ordinary programs, and programs that ask for what no sandbox gives."""

# Name -> (program, stdin, stdout).
IDIOMS = {
    "input": ("print(int(input()) + 1)", "41\n", "42\n"),
    "input to its end": ("try:\n    while True: print(input()[::-1])\nexcept EOFError: pass", "ab\ncd", "ba\ndc\n"),
    "sys.stdin": ("import sys\nprint(sum(map(int, sys.stdin)))", "1\n2\n", "3\n"),
    "bytes of stdin": ("import sys\nprint(len(sys.stdin.buffer.read().split()))", "a b\nc", "3\n"),
    "open(0)": ("print(*map(str.upper, open(0).read().split()))", "a b\n", "A B\n"),
    "os.read": ("import os, io\nprint(io.BytesIO(os.read(0, os.fstat(0).st_size)).readline().decode().strip())", "fast\nx", "fast\n"),
    "stdout at the end": ("import sys\nsys.stdout.write('a'); sys.stdout.flush(); print('b', file=sys.stdout, end='')", "", "ab"),
    "print replaced": ("import sys, io\ninput = sys.stdin.readline\nout = io.StringIO()\nprint(int(input()), file=out)\nsys.stdout.write(out.getvalue())", "7\n", "7\n"),
    "main guard": ("def main(): print('main')\nif __name__ == '__main__': main()", "", "main\n"),
    "exit": ("print('before')\nexit()\nprint('after')", "", "before\n"),
    "sys.exit in a function": ("import sys\ndef f():\n    print(1); sys.exit(0)\nf()", "", "1\n"),
    "deep recursion": ("import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nprint(f(50000))", "", "50000\n"),
    "deep recursion in a thread": (
        "import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size(1 << 26)\n"
        "def f(n): return 0 if n == 0 else 1 + f(n - 1)\nt = threading.Thread(target=lambda: print(f(20000)))\nt.start(); t.join()",
        "", "20000\n"),
    "a larger stack": ("import resource\nresource.setrlimit(resource.RLIMIT_STACK, (-1, -1))\nprint(1)", "", "1\n"),
    "heapq, bisect, deque": (
        "from heapq import *\nfrom bisect import *\nfrom collections import *\nh = []\nheappush(h, 2); heappush(h, 1)\n"
        "print(heappop(h), bisect([1, 3], 2), deque([1, 2], maxlen=1)[0], Counter('aab').most_common(1), defaultdict(int)[0])",
        "", "1 1 2 [('a', 2)] 0\n"),
    "math, fractions, decimal": (
        "import math\nfrom fractions import Fraction\nfrom decimal import Decimal, getcontext\ngetcontext().prec = 5\n"
        "print(math.gcd(12, 18), math.comb(5, 2), Fraction(1, 3) + 1, Decimal(1) / 3)", "", "6 10 4/3 0.33333\n"),
    "itertools, functools": (
        "from itertools import *\nfrom functools import *\n@lru_cache(None)\ndef fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)\n"
        "print(fib(50), *permutations('ab'), reduce(lambda a, b: a * b, accumulate([1, 2, 3])))", "", "12586269025 ('a', 'b') ('b', 'a') 18\n"),
    "dates": ("from datetime import *\nprint(datetime.strptime('2024-02-29', '%Y-%m-%d') + timedelta(days=1))", "", "2024-03-01 00:00:00\n"),
    "dataclasses, enum, typing": (
        "from dataclasses import dataclass, field\nfrom enum import Enum, auto\nfrom typing import List, Optional\n"
        "class C(Enum):\n    A = auto()\n@dataclass(order=True)\nclass P:\n    x: int\n    y: List[int] = field(default_factory=list)\n"
        "print(P(1) < P(2), C.A.name, P(3))", "", "True A P(x=3, y=[])\n"),
    "re, string, json, hashlib": (
        "import re, string, json, hashlib\nprint(re.findall(r'\\d+', 'a1b22'), string.ascii_lowercase[:3], json.dumps({'a': [1]}), "
        "hashlib.md5(b'a').hexdigest()[:6])", "", "['1', '22'] abc {\"a\": [1]} 0cc175\n"),
    "csv, io, textwrap": ("import csv, io, textwrap\nprint(list(csv.reader(io.StringIO('a,b'))), textwrap.fill('a b', 1))", "", "[['a', 'b']] a\nb\n"),
    "graphlib, statistics, random": (
        "import graphlib, statistics, random\nrandom.seed(1)\nprint(*graphlib.TopologicalSorter({1: {2}}).static_order(), "
        "statistics.mean([1, 2]), random.randint(1, 1))", "", "2 1 1.5 1\n"),
    "unittest": ("import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(1, 1)\nunittest.main(exit=False)\nprint('ran')", "", "ran\n"),
    "threads": (
        "import threading, queue\nq = queue.Queue()\nts = [threading.Thread(target=q.put, args=(i,)) for i in range(4)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\nprint(sorted(q.queue))", "", "[0, 1, 2, 3]\n"),
    "executors of threads": ("from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(2) as e: print(*e.map(abs, [-1, 2]))", "", "1 2\n"),
    "a thread that outlives the end": ("import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()", "", "late\n"),
    "exit handlers": ("import atexit\natexit.register(print, 'bye')\nprint('hello')", "", "hello\nbye\n"),
    "time": ("import time\na = time.time(); time.sleep(0.01)\nprint(time.time() > a, time.perf_counter() > 0)", "", "True True\n"),
    "exceptions told": ("import traceback\ntry: 1 / 0\nexcept ZeroDivisionError: print(traceback.format_exc().splitlines()[-1])", "", "ZeroDivisionError: division by zero\n"),
    "eval and exec": ("exec('x = 2')\nprint(eval('x + 1'), (lambda s: s[::-1])('ab'))", "", "3 ba\n"),
    "match and walrus": ("match [1, 2]:\n    case [a, b]: print(a + b)\nif (n := 3) > 2: print(f'{n=}')", "", "3\nn=3\n"),
    "unicode": ("print(input().upper(), 'naïve'.encode('latin-1'))", "straße\n", "STRASSE b'na\\xefve'\n"),
    "big numbers": ("print(pow(3, 1000, 10**9 + 7), len(str(2**10000)))", "", "56888193 3011\n"),
    "warnings": ("import warnings\nwarnings.warn('x')\nprint(1)", "", "1\n"),
}  # fmt: skip

UNSUPPORTED = {
    "asyncio.run": "import asyncio\nasyncio.run(asyncio.sleep(0))",
    "a file": "open('made', 'w').write('x')",
    "a file by pathlib": "import pathlib\npathlib.Path('/etc/hostname').read_text()",
    "tempfile": "import tempfile\ntempfile.TemporaryFile()",
    "subprocess": "import subprocess\nsubprocess.run(['true'])",
    "fork": "import os\nos.fork()",
    "a socket": "import socket\nsocket.socket()",
    "multiprocessing": "from multiprocessing import Pool\nPool(2).map(abs, [1])",
    "a module that is not there": "import numpy as np\nprint(np.zeros(1))",
    "many threads": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(1,), daemon=True).start()",
}
