"""Side-by-side timings: `python -m benchmarks.<name> --out FILE.json`."""
