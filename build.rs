//! Has the linker make a release smaller, on disk and in memory: see `build.ld`.
//!
//! Cargo has no setting for any of this that would hold for `cargo install` too. A linker that cannot do it, which one try
//! tells, links as ever.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};

fn main() -> Result<(), Box<dyn Error>> {
    for file in ["build.rs", "build.ld"] {
        println!("cargo::rerun-if-changed={file}");
    }
    // A build with debug information is made for looking at stacks.
    let small = env::var("PROFILE")? == "release" && env::var("DEBUG")? == "false";
    if !small || env::var("CARGO_CFG_TARGET_OS")? != "linux" {
        return Ok(());
    }
    let script = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("build.ld");
    let unwinding = vec![format!("-Wl,-T,{}", script.display()), "-Wl,--no-eh-frame-hdr".to_owned()];
    let folding = vec!["-Wl,--icf=all".to_owned()];
    let mut wanted = vec![unwinding, folding];
    // Relocations in a tenth of the place. A program that brings no C library of its own would ask for glibc 2.36 by it.
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        wanted.push(vec!["-Wl,-z,pack-relative-relocs".to_owned()]);
    }
    for arguments in wanted {
        if works(&arguments)? {
            for argument in arguments {
                println!("cargo::rustc-link-arg-bins={argument}");
            }
        }
    }
    Ok(())
}

/// Whether a program that is linked with these arguments can be made, and runs where it was made for this machine.
fn works(arguments: &[String]) -> Result<bool, Box<dyn Error>> {
    let directory = env::var("OUT_DIR")?;
    let (source, program) = (Path::new(&directory).join("try.rs"), Path::new(&directory).join("try"));
    std::fs::write(&source, "fn main() {}")?;
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc.arg(&source).arg("-o").arg(&program).args(["--target", &env::var("TARGET")?, "-Cpanic=abort"]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(flags.split('\x1f').filter(|flag| !flag.is_empty()));
    rustc.args(arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
    let made = rustc.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success();
    Ok(made
        && (env::var("TARGET")? != env::var("HOST")?
            || Command::new(&program).status().is_ok_and(|end| end.success())))
}
