"""Key derivation, envelopes, hashing: pure functions."""
