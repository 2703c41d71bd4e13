//! What a module must export and may import.
//! It must never pass a module that could not be called.

use wasmtime::{ExternType, Module, ValType};

use super::wasi;
use crate::{Kind, SourceError};

/// Checks imports and exports, and says how to call the module.
pub(super) fn interface(module: &Module) -> Result<Kind, SourceError> {
    imports(module)?;
    if !matches!(module.get_export("memory"), Some(ExternType::Memory(memory)) if !memory.is_64() && !memory.is_shared())
    {
        return Err(missing(module, "memory", "a 32-bit memory"));
    }
    if module.get_export("_start").is_some() {
        function(module, "_start", &[], &[])?;
        return Ok(Kind::WasiCommand);
    }
    if module.get_export("_initialize").is_some() {
        function(module, "_initialize", &[], &[])?;
    }
    if module.get_export("handle").is_none() && module.get_export("alloc").is_none() {
        return Err(SourceError::MissingExport { name: "_start or handle".to_owned() });
    }
    function(module, "alloc", &[ValType::I32], &[ValType::I32])?;
    function(module, "handle", &[ValType::I32, ValType::I32], &[ValType::I64])?;
    Ok(Kind::PlainModule)
}

fn imports(module: &Module) -> Result<(), SourceError> {
    match module.imports().find(|wanted| !wasi::knows(wanted.module(), wanted.name())) {
        Some(unknown) => {
            Err(SourceError::UnknownImport { module: unknown.module().to_owned(), name: unknown.name().to_owned() })
        }
        None => Ok(()),
    }
}

fn function(module: &Module, name: &str, takes: &[ValType], gives: &[ValType]) -> Result<(), SourceError> {
    let same = |have: &mut dyn Iterator<Item = ValType>, want: &[ValType]| {
        let have: Vec<ValType> = have.collect();
        have.len() == want.len() && have.iter().zip(want).all(|(have, want)| ValType::eq(have, want))
    };
    match module.get_export(name) {
        Some(ExternType::Func(found)) if same(&mut found.params(), takes) && same(&mut found.results(), gives) => {
            Ok(())
        }
        _ => Err(missing(module, name, &format!("a function {takes:?} -> {gives:?}"))),
    }
}

fn missing(module: &Module, name: &str, expected: &str) -> SourceError {
    match module.get_export(name) {
        Some(_) => SourceError::WrongExport { name: name.to_owned(), expected: expected.to_owned() },
        None => SourceError::MissingExport { name: name.to_owned() },
    }
}
