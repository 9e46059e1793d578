"""Parts of `benchmarks/gpu.py`: phases and their budgets, and what a measuring process does."""
