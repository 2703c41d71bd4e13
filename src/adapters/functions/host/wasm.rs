//! WebAssembly functions: compiling, checking, running.
//! It must never give an instance anything but the imports in `wasi`, nor keep an instance for a second run.

mod check;
mod guest;
mod run;
mod wasi;

use wasmtime::{Config, InstancePre, Linker};

use super::ticker::Epochs;
use crate::{Kind, SourceError};
use guest::Guest;

/// Stack of the function itself, in bytes.
const STACK_BYTES: usize = 1024 * 1024;

/// Compiles modules and counts the ticks of their time.
pub(super) struct Engine {
    engine: wasmtime::Engine,
    linker: Linker<Guest>,
}

/// A compiled module with its imports in place.
pub(super) struct Module {
    pre: InstancePre<Guest>,
    kind: Kind,
}

impl Engine {
    pub(super) fn new() -> wasmtime::Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(true);
        config.max_wasm_stack(STACK_BYTES);
        config.wasm_memory64(false);
        config.wasm_multi_memory(false);
        // Copying data in costs less than the descriptors that sharing it would need inside the jail.
        config.memory_init_cow(false);
        let engine = wasmtime::Engine::new(&config)?;
        let mut linker = Linker::new(&engine);
        wasi::define(&mut linker)?;
        Ok(Self { engine, linker })
    }

    /// What the ticker calls.
    pub(super) fn epochs(&self) -> Epochs {
        let engine = self.engine.clone();
        Box::new(move || engine.increment_epoch())
    }

    pub(super) fn compile(&self, source: &[u8]) -> Result<Module, SourceError> {
        let invalid =
            |error: wasmtime::Error| SourceError::InvalidModule { detail: super::table::cut(&format!("{error:#}")) };
        if !source.starts_with(b"\0asm") {
            return Err(SourceError::InvalidModule {
                detail: "it does not begin like a webassembly module".to_owned(),
            });
        }
        let module = wasmtime::Module::from_binary(&self.engine, source).map_err(invalid)?;
        let kind = check::interface(&module)?;
        let pre = self.linker.instantiate_pre(&module).map_err(invalid)?;
        Ok(Module { pre, kind })
    }
}

impl Module {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }
}
