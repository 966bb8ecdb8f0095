//! A Python with the packages of the tests, which `make test` installs.

use std::path::PathBuf;
use std::process::Command;

fn interpreter() -> PathBuf {
    std::env::var_os("FRESNEL_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Returns true if the packages are installed.
pub(crate) fn there() -> bool {
    let import = Command::new(interpreter())
        .args(["-c", "import deltalake, fastavro, grpc_tools, pyarrow, scipy"])
        .output();
    import.is_ok_and(|output| output.status.success())
}

/// Returns the output of a script. The interpreter exits without a cleanup: threads of its packages may
/// outlive it, and then abort it after its output.
pub(crate) fn run(script: &str, arguments: &[&str]) -> String {
    let script = format!("{script}\nimport os, sys\nsys.stdout.flush()\nos._exit(0)");
    let output = Command::new(interpreter()).args(["-c", &script]).args(arguments).output();
    let output = output.expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("python prints text").trim().to_owned()
}
