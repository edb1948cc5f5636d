//! Two facts the code wants at compile time: the commit it was built from, and whether the
//! recordings that some tests need lie beside the project (`../shared/data`); where not, those
//! tests say "ignored".

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rustc-check-cfg=cfg(shared_data)");
    let root = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let data = Path::new(&root).join("../shared/data");
    println!("cargo:rerun-if-changed=build.rs");
    if data.join("README.md").exists() {
        println!("cargo:rustc-cfg=shared_data");
    }
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .current_dir(&root)
        .output()
        .ok()
        .filter(|out| out.status.success())
        .and_then(|out| String::from_utf8(out.stdout).ok())
        .map(|text| text.trim().to_owned())
        .unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=GENESIS_COMMIT={commit}");
    // A path that is absent would make cargo run this every time.
    for watched in [".git/HEAD", ".git/refs/heads"] {
        let path = Path::new(&root).join(watched);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
}
