"""The wire: what is said, how it is spelled, and in what order. Nothing here does IO."""
