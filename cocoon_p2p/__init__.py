"""cocoon-p2p: an open peer-to-peer network for private, paid AI inference."""
