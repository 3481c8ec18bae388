"""Modules that every program finds imported: a sealed process can open no file, so what is not here cannot be imported.

The standard library of solutions, and what it imports late (``_strptime``, codecs). Without what only talks to other
processes or to a network, and without numpy unless it is asked for.
"""

from __future__ import annotations

import importlib
import sys

_STANDARD = """
    __future__ abc array ast atexit base64 binascii bisect builtins calendar cmath cmd codecs collections
    collections.abc colorsys concurrent.futures concurrent.futures.thread configparser contextlib contextvars copy
    copyreg csv ctypes dataclasses datetime decimal difflib dis doctest enum errno fnmatch fractions functools gc
    getopt glob graphlib hashlib heapq hmac html html.parser importlib importlib.util inspect io itertools json
    keyword linecache locale logging math mmap numbers operator optparse os os.path pathlib pdb pickle platform pprint
    profile queue random re reprlib resource sched secrets select shlex shutil signal socket stat statistics string
    stringprep struct subprocess symtable sys sysconfig tempfile textwrap threading time timeit token tokenize trace
    traceback tracemalloc types typing unicodedata unittest unittest.mock urllib.parse uuid warnings weakref
    xml.etree.ElementTree zlib zoneinfo
    _strptime _pydecimal _pyio _bootlocale encodings.ascii encodings.idna encodings.latin_1 encodings.utf_8
    encodings.utf_16 encodings.utf_32 encodings.cp1252 encodings.hex_codec encodings.rot_13 encodings.punycode
    encodings.unicode_escape encodings.raw_unicode_escape
"""
"""Names that a Python lacks (they come and go with its versions) are passed over."""


def preload(packages: tuple[str, ...]) -> None:
    """Imports all of it, then ``packages`` too.

    Raises:
      ImportError: one of ``packages`` cannot be imported.
    """
    for name in _STANDARD.split():
        if name.partition(".")[0] in sys.stdlib_module_names:
            try:
                importlib.import_module(name)
            except ImportError:
                continue
    for name in packages:
        importlib.import_module(name)
