"""Talking to other nodes: four verbs over libp2p, and the directory of proxies in its DHT."""
