//! Frames between the broker and a jailed worker. Types and framing only.
