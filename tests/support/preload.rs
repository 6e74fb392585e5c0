//! Libraries that stand before the system's, made of the tests' own C files.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiles a file of this repository to a library in `dir`; the path of the library is for `LD_PRELOAD`.
pub fn library(source: &str, dir: &Path) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let library = dir.join(source.with_extension("so").file_name().expect("a name"));
    let compiler = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .output()
        .expect("cc, which building the crate needs as well");
    assert!(compiler.status.success(), "{}", String::from_utf8_lossy(&compiler.stderr));
    library
}
