"""Ledgers in files and in databases."""

from cocoon_p2p.store.group_commit import DatabaseStore as DatabaseStore
from cocoon_p2p.store.opening import is_server as is_server
from cocoon_p2p.store.opening import open_store as open_store
