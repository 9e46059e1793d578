"""What `benchmarks/network.py` measures and models of runs over many machines."""
