//! Compiles the tools and prompts folders in as text, so that one binary suffices. The folders are the
//! registry: nothing is listed twice. Never transforms what it finds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?).join("embedded.rs");
    println!("cargo:rerun-if-changed=tools");
    println!("cargo:rerun-if-changed=prompts");
    let mut code = String::from(
        "/// Tool folders: name, tool.toml, handler.rhai, examples.toml.\npub const TOOLS: &[(&str, &str, &str, &str)] = &[\n",
    );
    for folder in sorted(&root.join("tools"))?.into_iter().filter(|path| path.is_dir()) {
        let file = |name: &str| folder.join(name);
        let [declaration, handler, examples] = ["tool.toml", "handler.rhai", "examples.toml"].map(file);
        let line = format!(
            "({:?}, include_str!({declaration:?}), include_str!({handler:?}), include_str!({examples:?})),\n",
            name(&folder)
        );
        code.push_str(&line);
    }
    code.push_str("];\n/// Prompts: name, text.\npub const PROMPTS: &[(&str, &str)] = &[\n");
    for file in sorted(&root.join("prompts"))?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        writeln!(code, "({stem:?}, include_str!({file:?})),").map_err(io::Error::other)?;
    }
    code.push_str("];\n");
    fs::write(out, code)
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut all = fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<io::Result<Vec<_>>>()?;
    all.sort();
    Ok(all)
}
