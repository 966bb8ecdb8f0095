//! Progress of a detection: a line on a terminal, or lines of JSON elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine::Counters;
use serde_json::{Value, json};
use sources::{count_pictures, describe_video};

use crate::detect::cost::now;

/// Intervals of a line on a terminal, and of lines of JSON.
const ON_A_TERMINAL: Duration = Duration::from_millis(200);
const ELSEWHERE: Duration = Duration::from_secs(2);

/// Reports progress until it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    stop: Option<SyncSender<()>>,
    reporter: Option<JoinHandle<()>>,
}

impl Progress {
    /// Reports how many pictures have their people, of `total` if that is known; an earlier run had `n_before`.
    pub(super) fn start(counters: Arc<Counters>, n_before: u64, total: Option<u64>) -> Self {
        let (stop, stopped) = sync_channel(1);
        let is_terminal = stderr().is_terminal();
        let interval = if is_terminal { ON_A_TERMINAL } else { ELSEWHERE };
        let started = now();
        let reporter = thread::spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                let n_done = counters.snapshot().get("people").map_or(0, |counts| counts.records);
                let elapsed_s = started.elapsed().as_secs_f64();
                let report = Report { n_before, n_done, total, elapsed_s };
                // Nobody is harmed if standard error is closed.
                let _ = if is_terminal {
                    write!(stderr(), "\r{}\x1b[K", report.text())
                } else {
                    writeln!(stderr(), "{}", report.json())
                };
            }
            if is_terminal {
                let _ = write!(stderr(), "\r\x1b[K");
            }
        });
        Self { stop: Some(stop), reporter: Some(reporter) }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        // A panic of the reporter has been reported where it happened.
        let _ = self.reporter.take().map(JoinHandle::join);
    }
}

/// The progress at one moment.
struct Report {
    /// Pictures of an earlier run.
    n_before: u64,
    /// Pictures of this run.
    n_done: u64,
    total: Option<u64>,
    elapsed_s: f64,
}

impl Report {
    fn n_frames(&self) -> u64 {
        self.n_before + self.n_done
    }

    fn rate(&self) -> f64 {
        self.n_done as f64 / self.elapsed_s.max(0.001)
    }

    fn left_s(&self) -> Option<f64> {
        let n_left = self.total?.saturating_sub(self.n_frames());
        (self.n_done > 0).then(|| n_left as f64 / self.rate())
    }

    fn text(&self) -> String {
        const WIDTH: u64 = 30;
        let Some(total) = self.total.filter(|total| *total > 0) else {
            return format!("{} pictures, {:.1} per second", self.n_frames(), self.rate());
        };
        let n_frames = self.n_frames();
        let n_full = (n_frames.min(total) * WIDTH / total) as usize;
        let bar = "#".repeat(n_full) + &"-".repeat(WIDTH as usize - n_full);
        let left = self.left_s().map_or(String::new(), |left_s| format!(", {left_s:.0} s left"));
        format!("[{bar}] {n_frames} of {total} pictures, {:.1} per second{left}", self.rate())
    }

    fn json(&self) -> Value {
        json!({
            "n_frames": self.n_frames(),
            "n_total": self.total,
            "frames_per_s": self.rate(),
            "left_s": self.left_s(),
        })
    }
}

/// Returns the number of pictures in a folder or a video, as far as that can be said without reading all of it.
pub(super) fn n_pictures(path: &Path) -> Option<u64> {
    if path.is_dir() { count_pictures(path).ok() } else { describe_video(path)?.n_frames }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_estimated_by_the_rate_so_far() {
        let report = Report { n_before: 0, n_done: 30, total: Some(120), elapsed_s: 10.0 };
        let bar = "[#######-----------------------]";
        assert_eq!(report.text(), format!("{bar} 30 of 120 pictures, 3.0 per second, 30 s left"));
        assert_eq!(report.json()["left_s"], 30.0);
        let unknown = Report { total: None, ..report };
        assert_eq!(unknown.text(), "30 pictures, 3.0 per second");
        let resumed = Report { n_before: 60, total: Some(120), ..report };
        assert!(resumed.text().ends_with("90 of 120 pictures, 3.0 per second, 10 s left"));
        let more = Report { n_before: 0, n_done: 200, total: Some(120), elapsed_s: 10.0 };
        assert!(more.text().contains("200 of 120"), "a wrong estimate does no harm");
    }
}
