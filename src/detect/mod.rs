//! `fresnel detect`: the people in a video or in pictures, as files.
//!
//! It is a run of an ordinary pipeline, so a run that was killed goes on where it was.

mod cost;
mod input;
mod progress;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context as _, Error, Result, ensure};
use clap::{Args, ValueEnum, value_parser};
use engine::{Cluster, Plan, RunOptions, WhenAlive};
use offline::{DetectionFiles, DetectionSummary, write_detections};
use serde_json::json;

use crate::detect::cost::{Cost, Meter};
use crate::detect::input::Input;
use crate::detect::progress::{Progress, n_pictures};
use crate::models::fetch_missing;
use crate::print::print;
use crate::run::{NoRecords, run_observed, stop_on_signal};

/// The folder of the pipeline's records, below the output.
const RECORDS: &str = "records";
const ERROR_FILE: &str = ".error";
const SUMMARY: &str = "summary.json";

/// Parses a share between 0 and 1.
fn share(text: &str) -> Result<f32, String> {
    let share: f32 = text.parse().map_err(|_| "it is not a number".to_owned())?;
    (0.0..=1.0)
        .contains(&share)
        .then_some(share)
        .ok_or_else(|| "it is not between 0 and 1".to_owned())
}

/// Whether people are tracked.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Tracking {
    /// In videos, but not in a folder of pictures.
    #[default]
    Videos,
    On,
    /// Ids are numbers within a picture.
    Off,
}

#[derive(Debug, Args)]
pub(crate) struct DetectArguments {
    #[command(flatten)]
    input: Input,
    /// Folder for the results.
    #[arg(long, visible_alias = "outdir")]
    output: PathBuf,
    /// The network that detects people.
    #[arg(long, default_value = "nanodet-g")]
    detector: String,
    /// The network that finds keypoints.
    #[arg(long, default_value = "movenet-thunder")]
    pose_model: String,
    /// Least confidence of a person, from 0 to 1.
    #[arg(long, default_value_t = 0.3, value_parser = share)]
    min_confidence: f32,
    /// Tracks people, so that a person has the same id in all pictures; by default in videos.
    #[arg(long, visible_alias = "pose_track", value_enum, default_value_t, num_args = 0..=1,
          default_missing_value = "on")]
    track: Tracking,
    /// Largest width of a picture in pixels; larger pictures are made smaller.
    #[arg(long, default_value_t = 1280, value_parser = value_parser!(u32).range(16..=8192))]
    max_width: u32,
    /// Largest height of a picture in pixels.
    #[arg(long, default_value_t = 720, value_parser = value_parser!(u32).range(16..=8192))]
    max_height: u32,
    /// Worker threads.
    #[arg(short, long, default_value_t = 1)]
    workers: usize,
    /// Writes the pictures (`frames_NAME`), the pictures with people (`overlay_NAME`), and of a video also
    /// `overlay_NAME.mp4`.
    #[arg(long, visible_aliases = ["save_img", "save_video"])]
    vis: bool,
    /// Checks the input and the models, and ends.
    #[arg(long)]
    dry_run: bool,
    /// Prints the pipeline that would run, and ends.
    #[arg(long)]
    print_pipeline: bool,
}

/// Detects people. On failure, the folder has a file `.error` with the reason.
pub(crate) fn detect(arguments: &DetectArguments) -> Result<ExitCode> {
    if arguments.print_pipeline {
        print(&arguments.pipeline()?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let error_file = arguments.output.join(ERROR_FILE);
    // The file of an earlier run that failed.
    let _ = fs::remove_file(&error_file);
    let detected = arguments.detect();
    if let Err(error) = &detected {
        // The folder may be what is wrong.
        let _ = fs::create_dir_all(&arguments.output);
        let _ = fs::write(error_file, format!("{error:#}\n"));
    }
    detected
}

impl DetectArguments {
    fn detect(&self) -> Result<ExitCode> {
        self.input.check(self.dry_run)?;
        vision::detector(&self.detector)?;
        vision::pose_estimator(&self.pose_model)?;
        let plan = Plan::parse(Path::new("detect.toml"), &self.pipeline()?)?;
        if self.dry_run {
            self.check_models()?;
            let unread = if self.input.url.is_some() { "; the URL was not opened" } else { "" };
            print(&format!("the input and the models can be used{unread}\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        fetch_missing(&[&self.detector, &self.pose_model])?;
        self.check_models()?;
        fs::create_dir_all(self.output.join(RECORDS))
            .with_context(|| format!("could not write to {}", self.output.display()))?;
        let cost = self.run_unless_done(plan)?;
        let summary = write_detections(&DetectionFiles {
            frames: &self.output.join(RECORDS).join("frames.jsonl"),
            people: &self.people_file(),
            output: &self.output,
            input: &self.input.text(),
        })?;
        if self.vis && self.input.image_dir.is_none() {
            self.write_overlay_video(&summary)?;
        }
        self.report(&summary, cost.as_ref())?;
        Ok(ExitCode::SUCCESS)
    }

    /// Runs the pipeline. Returns the cost of the run; none if all pictures were processed by an earlier run.
    fn run_unless_done(&self, plan: Plan) -> Result<Option<Cost>> {
        let fingerprint = self.fingerprint()?;
        let before = fs::read_to_string(self.fingerprint_file()).ok();
        let is_same = before.as_ref().is_none_or(|before| *before == fingerprint);
        if !is_same {
            eprintln!("the input or the arguments have changed: starting anew");
            let name = before.as_deref().and_then(|before| before.lines().nth(1));
            self.remove_pictures(name.unwrap_or_default());
        }
        // Only a run that ended has a summary.
        let summary = self.output.join(SUMMARY);
        if summary.exists() {
            if is_same {
                return Ok(None);
            }
            fs::remove_file(&summary)
                .with_context(|| format!("could not remove {}", summary.display()))?;
        }
        fs::write(self.fingerprint_file(), fingerprint)
            .with_context(|| format!("could not write to {}", self.output.display()))?;
        self.run(plan, !is_same)
    }

    fn people_file(&self) -> PathBuf {
        self.output.join(RECORDS).join("people.jsonl")
    }

    fn fingerprint_file(&self) -> PathBuf {
        self.output.join(RECORDS).join("fingerprint")
    }

    /// Returns a hash of what a result depends on: the pipeline, and the names, sizes and times of the input's files.
    /// The second line is the name of its pictures.
    fn fingerprint(&self) -> Result<String> {
        let mut text = format!("{} {}", self.pipeline()?, self.vis);
        let mut files = match self.input.path() {
            Some(path) if path.is_dir() => path
                .read_dir()
                .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
                .with_context(|| format!("could not read {}", path.display()))?,
            path => path.cloned().into_iter().collect::<Vec<_>>(),
        };
        files.sort();
        for file in files {
            let metadata = file.metadata();
            let metadata =
                metadata.with_context(|| format!("could not read {}", file.display()))?;
            let modified = metadata.modified().ok();
            // Writing to a string does not fail.
            let _ = write!(text, "\n{} {} {modified:?}", file.display(), metadata.len());
        }
        Ok(format!("{}\n{}\n", vision::hex_sha256(text.as_bytes()), self.picture_name()))
    }

    /// Removes the pictures of an earlier run, which may have had more of them.
    fn remove_pictures(&self, name: &str) {
        for kind in ["overlay", "frames"] {
            // There are none without `--vis`.
            let _ = fs::remove_dir_all(self.output.join(format!("{kind}_{name}")));
        }
        let _ = fs::remove_file(self.output.join(format!("overlay_{name}.mp4")));
    }

    /// Returns the name of a folder for this input.
    fn folder(&self, kind: &str) -> String {
        format!("{kind}_{}", self.picture_name())
    }

    /// Returns the name of the input in names of files.
    fn picture_name(&self) -> String {
        let input = self.input.text();
        let stem = Path::new(&input).file_stem().unwrap_or_default().to_string_lossy();
        let plain = |letter: char| if letter.is_alphanumeric() { letter } else { '_' };
        stem.chars().map(plain).collect()
    }

    /// Makes a video of the pictures with people, at the mean rate of the input.
    fn write_overlay_video(&self, summary: &DetectionSummary) -> Result<()> {
        let folder = self.folder("overlay");
        let video = format!("{folder}.mp4");
        let rate = summary.frames_per_s().to_string();
        let pictures = format!("{folder}/frame_%06d.jpg");
        // The encoder needs even sides.
        let even = "pad=ceil(iw/2)*2:ceil(ih/2)*2";
        let arguments = [
            "-hide_banner",
            "-nostdin",
            "-v",
            "error",
            "-y",
            "-framerate",
            &rate,
            "-i",
            &pictures,
            "-vf",
            even,
            "-pix_fmt",
            "yuv420p",
            &video,
        ];
        let output = Command::new("ffmpeg").args(arguments).current_dir(&self.output).output();
        let output = output.context("could not start ffmpeg")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "could not write {video}: {}", errors.trim());
        Ok(())
    }

    fn check_models(&self) -> Result<()> {
        let folder = vision::models_folder();
        vision::load_detector(&folder, &self.detector, &vision::cpu())?;
        vision::load_pose_estimator(&folder, &self.pose_model, &vision::cpu())?;
        Ok(())
    }

    /// Runs the pipeline to its end; `anew` without the output of earlier runs.
    fn run(&self, plan: Plan, anew: bool) -> Result<Option<Cost>> {
        let stop = stop_on_signal()?;
        let options = RunOptions {
            directory: self.output.clone(),
            workers: self.workers,
            cluster: Cluster::default(),
            fresh: anew,
            quarantine: Vec::new(),
            drop_state: Vec::new(),
            when_alive: WhenAlive::TakeOver,
            stop: Arc::clone(&stop),
        };
        let total = self.input.path().and_then(|path| n_pictures(path));
        let n_before = if anew { 0 } else { n_lines(&self.people_file()) };
        let mut meter = None;
        let ran = run_observed(plan, options, (None, anew), |counters| {
            meter = Some(Meter::start(Arc::clone(&counters)));
            Progress::start(counters, n_before, total)
        });
        ran.map_err(|error| self.without_pictures(error))?;
        let was_stopped = stop.load(Ordering::Relaxed);
        ensure!(!was_stopped, "stopped before the end; the same command continues");
        Ok(meter.and_then(Meter::read))
    }

    /// Replaces the error of a pipeline without records, whose advice is for `fresnel run`.
    fn without_pictures(&self, error: Error) -> Error {
        match error.downcast::<NoRecords>() {
            Ok(nothing) => nothing.context(format!("{} has no pictures", self.input.text())),
            Err(error) => error,
        }
    }

    /// Writes `summary.json` unless there is one, and prints a line of it.
    fn report(&self, summary: &DetectionSummary, cost: Option<&Cost>) -> Result<()> {
        let errors = self.output.join(RECORDS).join("errors.jsonl");
        ensure!(
            summary.n_frames > 0,
            "{} has no pictures; see {}",
            self.input.text(),
            errors.display()
        );
        let path = self.output.join(SUMMARY);
        if !path.exists() {
            let text = json!({ "input": self.input.text(), "detections": summary, "run": cost });
            fs::write(&path, format!("{text:#}\n"))
                .with_context(|| format!("could not write {}", path.display()))?;
        }
        let speed = cost.map_or_else(
            || "from an earlier run".to_owned(),
            |cost| format!("{:.1} pictures per second", cost.frames_per_s()),
        );
        print(&format!(
            "{} pictures, people in {} of them, {speed}: {}\n",
            summary.n_frames,
            summary.n_frames_with_persons,
            self.output.join("pose.json").display(),
        ))
    }

    fn pipeline(&self) -> Result<String> {
        let url = match self.input.path() {
            Some(path) => {
                let absolute = path.canonicalize();
                let absolute =
                    absolute.with_context(|| format!("could not read {}", path.display()))?;
                absolute.display().to_string()
            }
            None => self.input.url.clone().unwrap_or_default(),
        };
        let is_tracked = match self.track {
            Tracking::Videos => self.input.image_dir.is_none(),
            Tracking::On => true,
            Tracking::Off => false,
        };
        let (url, detector, model) = (json!(url), json!(self.detector), json!(self.pose_model));
        let Self { min_confidence, max_width, max_height, .. } = self;
        let track = if is_tracked {
            "[operators.tracked]\ntype = \"track\"\ninputs = [\"poses\"]\nplane = \"image\"\n\n"
        } else {
            ""
        };
        let people = if is_tracked { "tracked" } else { "poses" };
        let overlay = if self.vis {
            let (path, frames) = (json!(self.folder("overlay")), json!(self.folder("frames")));
            format!(
                "[sinks.overlay]\ntype = \"video_overlay\"\ninputs = [\"pictures\", \"{people}\"]\n\
                 path = {path}\nframes = {frames}\n\n"
            )
        } else {
            String::new()
        };
        Ok(format!(
            "name = \"detect\"\n\n\
             [sources.pictures]\ntype = \"video\"\nurl = {url}\nmax_width = {max_width}\n\
             max_height = {max_height}\n\n\
             [operators.poses]\ntype = \"estimate_pose\"\ninputs = [\"pictures\"]\ndetector = {detector}\n\
             model = {model}\nmin_confidence = {min_confidence:?}\n\n\
             {track}{overlay}\
             [sinks.frames]\ntype = \"json_lines\"\ninputs = [\"pictures\"]\npath = \"{RECORDS}/frames.jsonl\"\n\n\
             [sinks.people]\ntype = \"json_lines\"\ninputs = [\"{people}\"]\npath = \"{RECORDS}/people.jsonl\"\n\n\
             [sinks.errors]\ntype = \"json_lines\"\ninputs = [\"pictures.errors\"]\n\
             path = \"{RECORDS}/errors.jsonl\"\n"
        ))
    }
}

/// Returns the number of lines of a file; 0 if it cannot be read.
fn n_lines(file: &Path) -> u64 {
    let Ok(file) = File::open(file) else { return 0 };
    BufReader::new(file).split(b'\n').map_while(Result::ok).count() as u64
}
