//! Entry point. Looks at how it was called, enters that role, and never holds logic of its own.

fn main() {}
