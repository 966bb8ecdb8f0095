//! The program `fresnel`: arguments, logging and exit codes.

mod accounts;
mod checkpoints;
mod client;
mod commands;
mod completions;
mod demo;
mod detect;
mod evaluate;
mod forget;
mod health;
mod logging;
mod memory;
mod models;
mod print;
mod run;
mod secrets;
mod sql;
mod supervisor;
mod tap;
mod top;
mod validate;

use std::process::ExitCode;

use clap::Parser;
use engine::RunError;
use mimalloc::MiMalloc;
use schemas::error_and_causes;

use crate::commands::Arguments;
use crate::logging::Logging;

/// Batches are allocated on one thread and freed on another; the system's allocator is slow at that.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `EX_CONFIG` of `sysexits.h`: the pipeline file has errors.
const EXIT_CONFIG: u8 = 78;
/// `EX_NOINPUT`: the sources ended without any record.
const EXIT_NO_INPUT: u8 = 66;
/// `EX_TEMPFAIL`: another process runs the pipeline.
const EXIT_ELSEWHERE: u8 = 75;
/// `EX_SOFTWARE`: a panic.
const EXIT_SOFTWARE: i32 = 70;
/// Names of the threads of asynchronous runtimes.
const RUNTIMES: [&str; 4] = ["api", "delta", "query", "store"];

fn main() -> ExitCode {
    memory::give_back();
    exit_on_panic();
    let _logging = Logging::start();
    match Arguments::parse().run() {
        Ok(code) => code,
        Err(error) => {
            print_chain(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.chain().any(<dyn std::error::Error + 'static>::is::<engine::PipelineError>) {
        EXIT_CONFIG
    } else if matches!(error.downcast_ref::<RunError>(), Some(RunError::Alive { .. })) {
        EXIT_ELSEWHERE
    } else if error.is::<run::NoRecords>() {
        EXIT_NO_INPUT
    } else {
        1
    }
}

/// Ends the process at a panic: the other workers would wait forever for the worker that panicked. A panic
/// of a task on a runtime ends only the task, and its caller receives an error.
fn exit_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        if thread.name().is_some_and(|name| RUNTIMES.contains(&name)) {
            tracing::debug!(thread = thread.name(), %panic, "a task failed");
            return;
        }
        report(panic);
        std::process::exit(EXIT_SOFTWARE);
    }));
}

/// Prints an error to standard error, one cause a line.
fn print_chain(error: &anyhow::Error) {
    let words = error_and_causes(error.as_ref());
    eprintln!("error: {}", words.join("\n  caused by: "));
}
