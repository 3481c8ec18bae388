"""Reports of runs and sweeps from their folders alone; start at run_report.py and compare.py. No torch here."""
