//! The program's commands.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::builder::{PossibleValuesParser, RangedU64ValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use engine::{Cluster, CsiFormat, Plan, RunOptions, WhenAlive};
use offline::{RecordingsPlan, TrainPlan, convert, inspect, simulate_recordings, train_on_scenes};
use queries::Format;
use schemas::TimeSpan;
use storage::Location;

use crate::accounts::{KeysCommand, UsersCommand};
use crate::client::listen_address;
use crate::completions::{completions, manual};
use crate::demo::demo;
use crate::detect::{DetectArguments, detect};
use crate::evaluate::EvaluateCommand;
use crate::forget::forget;
use crate::health::health;
use crate::models::ModelsCommand;
use crate::print::print;
use crate::run::{run, stop_on_signal};
use crate::sql::sql;
use crate::supervisor::FaultIsolator;
use crate::tap::tap;
use crate::top::top;
use crate::validate::validate;
use crate::{checkpoints, supervisor};

/// The address of the demo's API.
const DEFAULT_ADDRESS: &str = "127.0.0.1:8080";

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
        #[arg(short, long, default_value_t = 1, value_parser = workers())]
        workers: usize,
        /// Number of this process in the run, from 0.
        #[arg(long, requires = "hosts", default_value_t = 0)]
        process: usize,
        /// File with the address of each process of a run, one `host:port` a line.
        #[arg(long, value_name = "FILE")]
        hosts: Option<PathBuf>,
        /// Folder that relative paths are relative to.
        #[arg(short = 'C', long, default_value = ".")]
        directory: PathBuf,
        /// Address to serve the API on, instead of the pipeline's.
        #[arg(long, value_parser = listen_address)]
        listen: Option<SocketAddr>,
        /// Starts from the beginning of the sources, without the checkpoints of earlier runs. Warns if a
        /// sink's destination is not empty.
        #[arg(long)]
        fresh: bool,
        /// With `--fresh`, first removes the output of earlier runs: the files and tables of the pipeline's
        /// sinks, and its journals. Kafka topics are not removed.
        #[arg(long, requires = "fresh")]
        clear: bool,
        /// Quarantines a source, or one of its partitions as `SOURCE/PARTITION`: it is not read and delays no
        /// other partition. A later run without this flag continues at its position. The partition of a
        /// device is its address; `unknown` stands for all new devices.
        #[arg(long, alias = "hold", value_name = "SOURCE")]
        quarantine: Vec<String>,
        /// Drops the saved state of this component; a source is read from its beginning.
        #[arg(long, value_name = "NAME")]
        drop_state: Vec<String>,
        /// Takes the pipeline over from a run that is alive. That run stops after its last commit, with exit
        /// code 75; this run continues from there.
        #[arg(long, conflicts_with = "standby")]
        take_over: bool,
        /// Waits until no other run of the pipeline is alive, then starts.
        #[arg(long)]
        standby: bool,
        /// Restarts the run when it fails, from its newest checkpoint, with exponential back-off.
        #[arg(long, conflicts_with_all = ["fresh", "drop_state"])]
        supervise: bool,
    },
    /// Runs the demo pipeline in a simulated room, without hardware, brokers or files.
    Demo {
        /// Folder for the demo's files and its history.
        #[arg(short = 'C', long, default_value = "demo")]
        directory: PathBuf,
        /// Address to serve the API and the page on.
        #[arg(long, default_value = "127.0.0.1:8080", value_parser = listen_address)]
        listen: SocketAddr,
        /// Worker threads.
        #[arg(short, long, default_value_t = 1, value_parser = workers())]
        workers: usize,
        /// Takes the demo over from a run that is alive.
        #[arg(long, conflicts_with = "standby")]
        take_over: bool,
        /// Waits until no other run of the demo is alive, then starts.
        #[arg(long)]
        standby: bool,
    },
    /// Checks pipeline files. Errors of inputs and columns follow once settings can be read.
    Validate {
        /// The pipeline files.
        #[arg(required = true)]
        pipelines: Vec<PathBuf>,
        /// Folder that relative paths are relative to.
        #[arg(short = 'C', long, default_value = ".")]
        directory: PathBuf,
    },
    /// Prints the graph of a pipeline.
    Graph {
        /// The pipeline file.
        pipeline: PathBuf,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t)]
        format: GraphFormat,
    },
    /// Records the messages that a source receives over its socket, until it is interrupted. Replay them with
    /// `transport = { journal = "FOLDER" }`.
    Record {
        /// The pipeline file.
        pipeline: PathBuf,
        /// The source's name.
        source: String,
        /// Folder for the recording.
        folder: PathBuf,
    },
    /// Summarises a capture: format, frames, links, shapes, rates, gaps, jumps of the clock, signal strengths
    /// and the stability of the phase between antennas.
    Inspect {
        /// The capture, or a recording of `fresnel record`.
        capture: PathBuf,
        /// Format of the capture; by default it is recognised by its first bytes.
        #[arg(short, long, value_parser = csi_formats())]
        format: Option<CsiFormat>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        /// Also plots amplitude and phase of the link with most frames, to this PNG file.
        #[arg(long, value_name = "FILE")]
        plot: Option<PathBuf>,
    },
    /// Converts a capture to a table with a row for each frame.
    Convert {
        /// The capture, or a recording of `fresnel record`.
        capture: PathBuf,
        /// The table: a file name that ends with .parquet or .arrow.
        table: PathBuf,
        /// Format of the capture; by default it is recognised by its first bytes.
        #[arg(short, long, value_parser = csi_formats())]
        format: Option<CsiFormat>,
    },
    /// Runs a read-only SQL query on a history.
    Sql {
        /// Folder of the history, or the URL of one in a bucket of S3 or Google Cloud Storage.
        #[arg(long, default_value = "history")]
        history: Location,
        /// Output format; by default pretty, or expanded if the rows are wider than the terminal.
        #[arg(short, long, value_parser = formats())]
        format: Option<Format>,
        /// The query.
        query: String,
    },
    /// Runs the queries that a server sends to its standard input; the server starts it.
    #[command(hide = true)]
    SqlWorker {
        /// The process of the server.
        server: u32,
    },
    /// Removes a person from a history: their poses, activities and events, also from files of its earlier
    /// versions.
    Forget {
        /// Folder of the history, or the URL of one in a bucket of S3 or Google Cloud Storage.
        #[arg(long, default_value = "history")]
        history: Location,
        /// The person's id.
        person: String,
    },
    /// Prints the records of a stream of a running pipeline while they flow, as JSON Lines.
    Tap {
        /// A source, an operator, or one of its ports as in `zones.events`.
        stream: String,
        /// Address of the pipeline's API: `host:port`, `:port` on this host, or a URL.
        #[arg(default_value = DEFAULT_ADDRESS)]
        address: String,
    },
    /// Shows the load of each component of a running pipeline: rates, lag, late and dropped records. `q`
    /// quits.
    Top {
        /// Address of the pipeline's API: `host:port`, `:port` on this host, or a URL.
        #[arg(default_value = DEFAULT_ADDRESS)]
        address: String,
    },
    /// Prints the health of a running pipeline; exits with 1 if it is unhealthy or does not respond.
    Health {
        /// Address of the pipeline's API: `host:port`, `:port` on this host, or a URL.
        #[arg(default_value = DEFAULT_ADDRESS)]
        address: String,
    },
    /// Measures detected motion, tracks or poses on labelled data.
    #[command(subcommand)]
    Evaluate(EvaluateCommand),
    /// Simulates a scene of ESP32 boards, and writes a capture for each board and the labels of motion, for
    /// `fresnel evaluate motion`.
    Simulate {
        /// Scene file, such as `pipelines/scenes/boards.toml`.
        scene: PathBuf,
        /// Folder for the captures and `labels.toml`.
        folder: PathBuf,
        /// Length of the recordings, such as `30s` or `5min`.
        #[arg(long, default_value = "5min")]
        duration: TimeSpan,
        /// Seed of the noise and the disturbances; that of the scene by default.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Trains a CSI pose model on simulated scenes.
    Train {
        /// Scene file with the room and the radios.
        #[arg(long, default_value = "pipelines/scenes/flat.toml")]
        scene: PathBuf,
        /// File for the model.
        #[arg(long, default_value = "models/flat.safetensors")]
        model: PathBuf,
        /// Scenes for training, of 40 seconds each.
        #[arg(long, default_value_t = 120)]
        scenes: u64,
        /// Scenes for the measurement of accuracy.
        #[arg(long, default_value_t = 16)]
        held_out: u64,
        /// Passes over all samples.
        #[arg(long, default_value_t = 16)]
        epochs: usize,
        /// Seed of scenes and training.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Prints the JSON Schema of pipeline files.
    Schema,
    /// Prints completions for a shell. For bash, write them to the file `fresnel` in
    /// `~/.local/share/bash-completion/completions`, a folder that may have to be made first.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Writes the manual pages of all commands to a folder, such as ~/.local/share/man/man1.
    Man {
        /// The folder.
        folder: PathBuf,
    },
    /// Manages the users of the API.
    #[command(subcommand)]
    Users(UsersCommand),
    /// Manages the API keys, with which programs use the API.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Detects the people in a video or in pictures: writes `pose.json`, and the results in the forms of
    /// AlphaPose and COCO.
    Detect(DetectArguments),
    /// Manages the models of networks that find people in pictures.
    #[command(subcommand)]
    Models(ModelsCommand),
    /// Shows checkpoints.
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
}

#[derive(Debug, Subcommand)]
enum CheckpointCommand {
    /// Lists the checkpoints of a store.
    Ls {
        /// The store: a file or a postgres:// URL.
        #[arg(long, default_value = "fresnel.db")]
        store: String,
    },
    /// Prints the size of the state of each component of a pipeline.
    Inspect {
        /// The pipeline's name.
        pipeline: String,
        /// The store: a file or a postgres:// URL.
        #[arg(long, default_value = "fresnel.db")]
        store: String,
        /// The newest checkpoint up to this tick; the newest of all by default.
        #[arg(long)]
        tick: Option<u64>,
        /// Lists the keys of this component instead: the partitions of a source.
        #[arg(long, value_name = "NAME")]
        component: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum GraphFormat {
    /// Drawn in text.
    #[default]
    Text,
    /// Graphviz.
    Dot,
    /// Mermaid, for Markdown.
    Mermaid,
}

fn when_alive(take_over: bool, standby: bool) -> WhenAlive {
    match (take_over, standby) {
        (true, _) => WhenAlive::TakeOver,
        (_, true) => WhenAlive::StandBy,
        _ => WhenAlive::Refuse,
    }
}

/// Parses one of the formats of answers, which completions then list.
fn formats() -> impl TypedValueParser<Value = Format> {
    let names = Format::ALL.map(Format::as_str);
    PossibleValuesParser::new(names).try_map(|name| {
        Format::ALL.into_iter().find(|format| format.as_str() == name).ok_or("no such format")
    })
}

/// Parses one of the formats of captures.
fn csi_formats() -> impl TypedValueParser<Value = CsiFormat> {
    let names = CsiFormat::ALL.map(CsiFormat::as_str);
    PossibleValuesParser::new(names).try_map(|name| {
        CsiFormat::ALL.into_iter().find(|format| format.as_str() == name).ok_or("no such format")
    })
}

impl Arguments {
    /// Runs the command, under a supervisor if that was requested.
    pub(crate) fn run(self) -> Result<ExitCode> {
        let Command::Run { supervise: true, pipeline, directory, process, .. } = self.command
        else {
            return self.command.run();
        };
        // Only the first process has the checkpoints; the others quarantine the same partitions.
        let isolator = (process == 0).then(|| FaultIsolator::new(pipeline, directory));
        let arguments = std::env::args_os().skip(1);
        let arguments: Vec<_> = arguments.filter(|argument| argument != "--supervise").collect();
        supervisor::supervise(&arguments, isolator)
    }
}

impl Command {
    fn run(self) -> Result<ExitCode> {
        match self {
            Command::Run {
                pipeline,
                workers,
                process,
                hosts,
                directory,
                listen,
                fresh,
                clear,
                quarantine,
                drop_state,
                take_over,
                standby,
                ..
            } => {
                if !directory.is_dir() {
                    bail!("folder {} not found", directory.display());
                }
                let stop = stop_on_signal()?;
                supervisor::listen(&stop);
                let cluster = hosts.map(|hosts| Cluster::of_hosts(process, &hosts)).transpose()?;
                let cluster = cluster.unwrap_or_default();
                let when_alive = when_alive(take_over, standby);
                let options = RunOptions {
                    directory,
                    workers,
                    cluster,
                    fresh,
                    quarantine,
                    drop_state,
                    when_alive,
                    stop,
                };
                let plan = Plan::load_in(&pipeline, &options.directory)?;
                run(plan, options, listen, clear)
            }
            Command::Detect(arguments) => detect(&arguments),
            Command::Demo { directory, listen, workers, take_over, standby } => {
                demo(directory, listen, workers, when_alive(take_over, standby))
            }
            tool => tool.run_tool().map(|()| ExitCode::SUCCESS),
        }
    }

    /// Runs a command other than `run`.
    fn run_tool(self) -> Result<()> {
        match self {
            Command::Validate { pipelines, directory } => validate(&pipelines, &directory),
            Command::Graph { pipeline, format } => {
                let plan = Plan::load(&pipeline)?;
                print(&match format {
                    GraphFormat::Text => plan.graph_text(),
                    GraphFormat::Dot => plan.graph_dot(),
                    GraphFormat::Mermaid => plan.graph_mermaid(),
                })
            }
            Command::Record { pipeline, source, folder } => record(&pipeline, &source, &folder),
            Command::Inspect { capture, format, json, plot } => {
                let inspection = inspect(&capture, format)?;
                if let Some(picture) = plot {
                    offline::plot(&capture, format, &picture)?;
                }
                print(&if json {
                    serde_json::to_string_pretty(&inspection)? + "\n"
                } else {
                    inspection.to_string()
                })
            }
            Command::Convert { capture, table, format } => {
                let (n_frames, n_dropped) = convert(&capture, format, &table)?;
                print(&format!("{n_frames} frames, {n_dropped} records could not be used\n"))
            }
            Command::Sql { history, format, query } => sql(history, format, &query),
            Command::SqlWorker { server } => Ok(queries::run_worker(server)?),
            Command::Forget { history, person } => forget(&history, &person),
            Command::Tap { stream, address } => tap(&stream, &address),
            Command::Top { address } => top(&address),
            Command::Health { address } => health(&address),
            Command::Train { scene, model, scenes, held_out, epochs, seed } => {
                let (n_scenes, n_held_out) = (scenes, held_out);
                train(&TrainPlan { scene, model, n_scenes, n_held_out, epochs, seed })
            }
            Command::Simulate { scene, folder, duration, seed } => {
                let labels =
                    simulate_recordings(&RecordingsPlan { scene, folder, duration, seed })?;
                print(&format!("wrote {}\n", labels.display()))
            }
            Command::Evaluate(command) => command.run(),
            Command::Checkpoint(CheckpointCommand::Ls { store }) => checkpoints::list(&store),
            Command::Checkpoint(CheckpointCommand::Inspect {
                pipeline,
                store,
                tick,
                component,
            }) => checkpoints::inspect(&store, &pipeline, tick, component.as_deref()),
            Command::Models(command) => command.run(),
            Command::Users(command) => command.run(),
            Command::Keys(command) => command.run(),
            Command::Run { .. } | Command::Demo { .. } | Command::Detect(_) => {
                unreachable!("a run is no tool")
            }
            Command::Schema => print(&format!("{:#}\n", engine::json_schema())),
            Command::Completions { shell } => completions(shell),
            Command::Man { folder } => manual(&folder),
        }
    }
}

/// Accepts a number of worker threads.
fn workers() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=1024)
}

fn record(pipeline: &Path, source: &str, folder: &Path) -> Result<()> {
    let (plan, stop) = (Plan::load(pipeline)?, stop_on_signal()?);
    let started = || eprintln!("recording {source} to {} until interrupted", folder.display());
    engine::record(&plan, source, folder, &stop, started)?;
    eprintln!("replay the recording with: transport = {{ journal = \"{}\" }}", folder.display());
    Ok(())
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
