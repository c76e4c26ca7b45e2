//! A tree in memory, for tests.
