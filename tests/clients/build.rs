//! Tells the tests where the binary is that they try: beside this package's own, unless `DIALTONE` says another.

fn main() {
    println!("cargo::rerun-if-env-changed=DIALTONE");
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/debug/dialtone");
    let binary = std::env::var("DIALTONE").unwrap_or_else(|_| built.to_owned());
    println!("cargo::rustc-env=CARGO_BIN_EXE_dialtone={binary}");
}
