//! The function host: WebAssembly and JavaScript in a jailed child process.
