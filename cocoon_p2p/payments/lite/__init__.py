"""TON seen through lite servers, with proofs: what a payment believes about a chain."""
