"""The test kit, public: a network in memory, a scripted engine, a directory without a DHT."""
