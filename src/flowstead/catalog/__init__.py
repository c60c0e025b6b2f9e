"""Modules and notebooks to flow versions."""

from flowstead.catalog.catalog import Catalog, CatalogEntry
from flowstead.catalog.versions import FlowVersion, read_texts, read_version

__all__ = ["Catalog", "CatalogEntry", "FlowVersion", "read_texts", "read_version"]
