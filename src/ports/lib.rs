//! Floor 1: traits with contracts, memory twins, conformance suites. Never an adapter.
