//! The program's commands.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use engine::{Plan, Run, RunOptions, TrainPlan, train_on_scenes};
use queries::{Format, History, Limits};
use signal_hook::consts::{SIGINT, SIGTERM};

/// A stream-processing dataflow engine for sensing people.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a pipeline until its sources end, or until it is interrupted.
    Run {
        /// The pipeline file.
        pipeline: PathBuf,
        /// Worker threads.
        #[arg(short, long, default_value_t = 1)]
        workers: usize,
        /// Folder that relative paths are relative to.
        #[arg(short = 'C', long, default_value = ".")]
        directory: PathBuf,
    },
    /// Checks pipeline files and tells every mistake.
    Validate {
        /// The pipeline files.
        #[arg(required = true)]
        pipelines: Vec<PathBuf>,
    },
    /// Draws a pipeline.
    Graph {
        /// The pipeline file.
        pipeline: PathBuf,
        /// How.
        #[arg(short, long, value_enum, default_value_t)]
        format: GraphFormat,
    },
    /// Answers a read-only SQL query over a history.
    Sql {
        /// Folder of the history.
        #[arg(long, default_value = "history")]
        history: PathBuf,
        /// Form of the answer: pretty, json, json_lines, csv, arrow or parquet.
        #[arg(short, long, default_value = "pretty", value_parser = format)]
        format: Format,
        /// The query.
        query: String,
    },
    /// Trains a CSI pose model on simulated scenes.
    Train {
        /// The scene file whose room and radios are learnt.
        #[arg(long, default_value = "pipelines/scenes/flat.toml")]
        scene: PathBuf,
        /// Where the model goes.
        #[arg(long, default_value = "models/flat.safetensors")]
        model: PathBuf,
        /// Scenes to train on, of 40 seconds each.
        #[arg(long, default_value_t = 120)]
        scenes: u64,
        /// Scenes to measure on.
        #[arg(long, default_value_t = 16)]
        held_out: u64,
        /// Rounds over all samples.
        #[arg(long, default_value_t = 16)]
        epochs: usize,
        /// Seed of everything.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Prints the JSON Schema of pipeline files.
    Schema,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum GraphFormat {
    /// One edge a line.
    #[default]
    Text,
    /// Graphviz.
    Dot,
}

fn format(name: &str) -> Result<Format, String> {
    Format::ALL.into_iter().find(|format| format.as_str() == name).ok_or_else(|| {
        let names = Format::ALL.map(Format::as_str).join(", ");
        format!("expected one of {names}")
    })
}

impl Arguments {
    /// Does what was asked.
    pub(crate) fn run(self) -> Result<()> {
        match self.command {
            Command::Run { pipeline, workers, directory } => {
                run(Plan::load(&pipeline)?, workers, directory)
            }
            Command::Validate { pipelines } => {
                for pipeline in pipelines {
                    Plan::load(&pipeline)?;
                    print(&format!("{}: good\n", pipeline.display()))?;
                }
                Ok(())
            }
            Command::Graph { pipeline, format } => {
                let plan = Plan::load(&pipeline)?;
                print(&match format {
                    GraphFormat::Text => plan.graph_text(),
                    GraphFormat::Dot => plan.graph_dot(),
                })
            }
            Command::Sql { history, format, query } => sql(history, format, &query),
            Command::Train { scene, model, scenes, held_out, epochs, seed } => {
                let (n_scenes, n_held_out) = (scenes, held_out);
                train(&TrainPlan { scene, model, n_scenes, n_held_out, epochs, seed })
            }
            Command::Schema => print(&format!("{:#}\n", engine::json_schema())),
        }
    }
}

fn run(plan: Plan, workers: usize, directory: PathBuf) -> Result<()> {
    let options = RunOptions { directory, workers, stop: stop_on_signal()? };
    let run = Run::start(plan, &options)?;
    let summary = run.wait()?;
    eprint!("{summary}");
    Ok(())
}

/// A flag that an interrupt or a request to terminate sets; a second one ends the process at once.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("could not listen for signals")?;
    }
    Ok(stop)
}

fn sql(history: PathBuf, format: Format, query: &str) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(History::new(history, None).query(query, Limits::default()))?;
    Ok(stdout().write_all(&answer.encode(format)?)?)
}

fn train(plan: &TrainPlan) -> Result<()> {
    let card = train_on_scenes(plan, |epoch| {
        eprintln!("epoch {} of {}: loss {:.4}", epoch.number, plan.epochs, epoch.loss);
    })?;
    print(&format!(
        "trained on: {}\nmodel:    {:?}\nbaseline: {:?}\n",
        card.trained_on, card.accuracy, card.baseline
    ))
}

fn print(text: &str) -> Result<()> {
    Ok(stdout().write_all(text.as_bytes())?)
}
