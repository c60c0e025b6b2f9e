"""Environments: what a flow needs, built once, addressed by the digest of what it holds."""
