//! The composition root and nothing else: what the binary and the tests share.
