"""The files of a job, in the order in which they travel: what both ends of the socket have to agree on."""

from __future__ import annotations

JOB, STDIN, STDOUT, STDERR, RESULTS, TESTS = range(6)

FILES = {
    "script": ("job", "stdin", "stdout", "stderr"),
    "calls": ("job", "stdin", "stdout", "stderr", "results"),
    "tests": ("job", "stdin", "stdout", "stderr", "results", "tests"),
}
"""Mode -> files. In mode "tests" the program's process holds neither the results nor the tests."""
