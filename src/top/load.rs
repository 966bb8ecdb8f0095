//! The load of components between two reads.

use std::cmp::Reverse;

use serde_json::Value;

/// The columns of the table.
pub(super) const HEADER: [&str; 10] = [
    "component",
    "busy",
    "rec/s",
    "records",
    "lag",
    "queued",
    "late",
    "drop/s",
    "dropped",
    "reasons",
];

#[derive(Debug, PartialEq)]
pub(super) struct ComponentLoad {
    pub(super) name: String,
    /// Share of a worker's time that the component worked.
    pub(super) busy: f64,
    records_per_s: f64,
    records: u64,
    /// Event time between the most advanced component and this one.
    lag_s: Option<f64>,
    queued: u64,
    late: u64,
    dropped_per_s: f64,
    dropped: u64,
    /// Why records were dropped, the most frequent reason first.
    reasons: String,
    /// True if this component delays the others.
    pub(super) is_slowest: bool,
}

impl ComponentLoad {
    /// Returns the cells of the component's row, in the order of [`HEADER`].
    pub(super) fn cells(&self) -> [String; 10] {
        let slowest = if self.is_slowest { " *" } else { "" };
        [
            format!("{}{slowest}", self.name),
            format!("{:.1} %", self.busy * 100.0),
            format!("{:.0}", self.records_per_s),
            self.records.to_string(),
            self.lag_s.map_or_else(|| "-".to_owned(), |lag_s| format!("{lag_s:.2} s")),
            self.queued.to_string(),
            self.late.to_string(),
            format!("{:.0}", self.dropped_per_s),
            self.dropped.to_string(),
            self.reasons.clone(),
        ]
    }
}

/// Returns the load of each component between two answers of `/api/v1/system/performance`.
pub(super) fn loads(before: &Value, now: &Value) -> Vec<ComponentLoad> {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let seconds = number(&now["uptime_seconds"]) - number(&before["uptime_seconds"]);
    let components = now["components"].as_object().into_iter().flatten();
    let loads = components.map(|(name, load)| {
        let earlier = &before["components"][name];
        let rate = |what: &str| (number(&load[what]) - number(&earlier[what])) / seconds.max(1e-3);
        // Operators count the records that they send.
        let counted = if load["records"] == 0 { "sent" } else { "records" };
        let count = |what: &str| load[what].as_u64().unwrap_or_default();
        ComponentLoad {
            name: name.clone(),
            busy: rate("busy_seconds"),
            records_per_s: rate(counted),
            records: count(counted),
            lag_s: load["lag_seconds"].as_f64(),
            queued: count("queued"),
            late: count("late"),
            dropped_per_s: rate("dropped"),
            dropped: count("dropped"),
            reasons: reasons(&load["dropped_by_reason"]),
            is_slowest: now["held_by"].as_str() == Some(name),
        }
    });
    loads.collect()
}

fn reasons(dropped: &Value) -> String {
    let reasons = dropped.as_object().into_iter().flatten();
    let mut reasons: Vec<_> =
        reasons.filter_map(|(reason, n)| Some((n.as_u64()?, reason.as_str()))).collect();
    reasons.sort_unstable_by_key(|(n, reason)| (Reverse(*n), *reason));
    let reasons = reasons.into_iter().map(|(n, reason)| format!("{reason}: {n}"));
    reasons.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_averages_between_two_reads() {
        let at = |uptime: f64, records: u64, busy: f64| {
            let load = json!({
                "records": records, "sent": 0, "busy_seconds": busy, "lag_seconds": 0.5, "queued": 3,
                "late": records / 10, "dropped": records / 100,
                "dropped_by_reason": { "bad line": records / 300, "garbage": records / 150 },
            });
            json!({ "uptime_seconds": uptime, "held_by": "out", "components": { "out": load } })
        };
        let loads = loads(&at(10.0, 100, 1.0), &at(12.0, 300, 2.0));
        let expected = [
            "out *",
            "50.0 %",
            "100",
            "300",
            "0.50 s",
            "3",
            "30",
            "1",
            "3",
            "garbage: 2, bad line: 1",
        ];
        assert_eq!(loads[0].cells(), expected);
    }
}
