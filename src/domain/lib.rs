//! Floor 0: nouns and pure rules of opsward. No async, no I/O, no clock.
