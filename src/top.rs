//! The command `top`: what each component of a running pipeline does, over its public API.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::print::print;

const INTERVAL: Duration = Duration::from_secs(1);
/// Steps of a bar from idle to busy.
const STEPS: u64 = 1000;

/// The rates of a component between two reads.
struct Line {
    name: String,
    /// Share of one worker's time that it worked.
    busy: f64,
    text: String,
}

/// Looks once a second until it is interrupted; without a terminal, once.
pub(crate) fn top(url: &str) -> Result<()> {
    let mut before = look(url)?;
    let bars = MultiProgress::new();
    let mut by_name = BTreeMap::<String, ProgressBar>::new();
    loop {
        // Rates are over this time, and so often there is something new to see.
        thread::sleep(INTERVAL);
        let now = look(url)?;
        let lines = lines(&before, &now);
        if !std::io::stderr().is_terminal() {
            let shown = lines.iter().map(|line| {
                format!("{:<16} {:>5.1} % busy  {}\n", line.name, line.busy * 100.0, line.text)
            });
            return print(&shown.collect::<String>());
        }
        for line in lines {
            let bar = by_name.entry(line.name.clone()).or_insert_with(|| {
                bars.add(ProgressBar::new(STEPS).with_style(style()).with_prefix(line.name))
            });
            bar.set_position((line.busy.min(1.0) * STEPS as f64) as u64);
            bar.set_message(line.text);
        }
        before = now;
    }
}

fn style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{prefix:<16} [{bar:24}] {msg}");
    style.expect("the template is right").progress_chars("=> ")
}

/// The status of the pipeline.
fn look(url: &str) -> Result<Value> {
    let url = format!("{}/api/v1/system/performance", url.trim_end_matches('/'));
    let response = ureq::get(&url).call().with_context(|| format!("could not ask {url}"))?;
    response.into_body().read_json().with_context(|| format!("{url} does not answer as it should"))
}

fn lines(before: &Value, now: &Value) -> Vec<Line> {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let seconds = number(&now["uptime_seconds"]) - number(&before["uptime_seconds"]);
    let held_by = now["held_by"].as_str().unwrap_or_default();
    let components = now["components"].as_object().into_iter().flatten();
    let lines = components.map(|(name, load)| {
        let earlier = &before["components"][name];
        let rate = |what: &str| (number(&load[what]) - number(&earlier[what])) / seconds.max(1e-3);
        let rate_of_records = format!("{:.0} records/s", rate("records").max(rate("sent")));
        let lag = load["lag_seconds"].as_f64();
        let lag = lag.map(|lag_s| format!(", {lag_s:.2} s behind, {} queued", load["queued"]));
        let holds = if name == held_by { ", holds the others" } else { "" };
        let text = [rate_of_records.as_str(), lag.as_deref().unwrap_or_default(), holds].concat();
        Line { name: name.clone(), busy: rate("busy_seconds"), text }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_of_the_time_between() {
        let at = |uptime: f64, records: u64, busy: f64| {
            let load = json!({
                "records": records, "sent": 0, "busy_seconds": busy, "lag_seconds": 0.5, "queued": 3,
            });
            json!({ "uptime_seconds": uptime, "held_by": "out", "components": { "out": load } })
        };
        let lines = lines(&at(10.0, 100, 1.0), &at(12.0, 300, 2.0));
        assert_eq!(lines[0].busy, 0.5);
        assert_eq!(lines[0].text, "100 records/s, 0.50 s behind, 3 queued, holds the others");
    }
}
