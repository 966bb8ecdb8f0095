//! A Python with the packages of the tests, where `make test` has put it.

use std::path::PathBuf;
use std::process::Command;

fn interpreter() -> PathBuf {
    std::env::var_os("FRESNEL_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// True if it has its packages.
pub(crate) fn there() -> bool {
    let import = Command::new(interpreter())
        .args(["-c", "import deltalake, fastavro, grpc_tools, pyarrow"])
        .output();
    import.is_ok_and(|output| output.status.success())
}

/// What a script prints. The interpreter leaves without taking itself down: threads of its packages
/// may live longer than it, and then abort it after all is said.
pub(crate) fn run(script: &str, arguments: &[&str]) -> String {
    let script = format!("{script}\nimport os, sys\nsys.stdout.flush()\nos._exit(0)");
    let output = Command::new(interpreter()).args(["-c", &script]).args(arguments).output();
    let output = output.expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("python prints text").trim().to_owned()
}
