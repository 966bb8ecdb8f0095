//! A Python with the packages of the tests, which `make test` installs.

use std::path::{Path, PathBuf};
use std::process::Command;

fn interpreter() -> PathBuf {
    std::env::var_os("FRESNEL_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Imports a module of each package.
const IMPORTS: &str = "import asyncpg, deltalake, fastavro, grpc_tools, motmetrics, openapi_python_client, psycopg, \
    pyarrow, schemathesis, scipy";

/// Returns true if the packages are installed.
pub(crate) fn there() -> bool {
    let import = Command::new(interpreter()).args(["-c", IMPORTS]).output();
    import.is_ok_and(|output| output.status.success())
}

/// Runs a program of the packages in a folder; it must succeed.
pub(crate) fn run_tool(directory: &Path, name: &str, arguments: &[&str]) {
    let mut command = Command::new(interpreter().with_file_name(name));
    let output = command.current_dir(directory).args(arguments).output();
    let output = output.expect("it is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
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
