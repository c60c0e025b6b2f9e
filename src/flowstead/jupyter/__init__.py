"""Jupyter kernels from the pool, or in the environment of a flow."""
