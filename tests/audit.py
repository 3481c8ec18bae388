"""``make audit``: known holes in the installed packages. pip-audit without its network says nothing and exits 0; this
fails unless nearly every package was really looked up.

    python -m tests.audit
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

MIN_AUDITED_FRAC = 0.9  # of the installed packages; the rest are local builds and this project, which no index has


def verdict(report: dict[str, Any]) -> tuple[int, list[str]]:
    """(exit code, lines) of pip-audit's JSON: 0 clean, 1 holes, 2 not audited."""
    packages = report.get("dependencies") or []
    audited = [p for p in packages if "vulns" in p]
    skipped = [f"  not audited: {p['name']} ({p['skip_reason']})" for p in packages if "vulns" not in p]
    if not audited or len(audited) < MIN_AUDITED_FRAC * len(packages):
        said = f"audit: only {len(audited)} of {len(packages)} packages could be looked up; expected nearly all"
        return 2, [said, *skipped[:5]]
    holes = [f"  {p['name']} {p['version']}: {v['id']} (mended in {', '.join(v['fix_versions']) or 'no version'})"
             for p in audited for v in p["vulns"]]  # fmt: skip
    return (1 if holes else 0), [f"audit: {len(audited)} packages, {len(holes)} known holes", *holes, *skipped]


def main() -> int:
    done = subprocess.run([sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--format", "json"],
                          capture_output=True, text=True)  # fmt: skip
    try:
        report = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        print(f"audit: nothing was audited: {last[:300]}; pip install 'rrl[audit]', and a network are needed")
        return 2
    code, lines = verdict(report)
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    raise SystemExit(main())
