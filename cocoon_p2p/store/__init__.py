"""Ledgers in files."""

from cocoon_p2p.store.sqlite import SqliteStore as SqliteStore
from cocoon_p2p.store.sqlite import open_store as open_store
