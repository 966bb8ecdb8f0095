//! `fresnel top`: the load of each component of a running pipeline.

mod load;
mod screen;

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::client::Client;
use crate::print::print;
use crate::top::load::{ComponentLoad, HEADER, loads};
use crate::top::screen::Screen;

/// The interval of reads; rates are averages over it.
const INTERVAL: Duration = Duration::from_secs(1);

/// Shows the load once a second until `q` is pressed; without a terminal, prints it once.
pub(crate) fn top(address: &str) -> Result<()> {
    let client = Client::new(address);
    let mut before = read(&client)?;
    if !stdout().is_terminal() {
        thread::sleep(INTERVAL);
        return print(&table(&loads(&before, &read(&client)?)));
    }
    let mut screen = Screen::open()?;
    while !Screen::quits_within(INTERVAL)? {
        let now = read(&client)?;
        screen.draw(&loads(&before, &now))?;
        before = now;
    }
    Ok(())
}

fn read(client: &Client) -> Result<Value> {
    let performance = client.get("/api/v1/system/performance")?;
    serde_json::from_reader(performance)
        .context("expected the API of a pipeline, found other content")
}

fn table(loads: &[ComponentLoad]) -> String {
    let rows = loads.iter().map(ComponentLoad::cells);
    let mut text = String::new();
    for [name, numbers @ .., reasons] in [HEADER.map(str::to_owned)].into_iter().chain(rows) {
        let mut line = format!("{name:<16}");
        for number in numbers {
            // Writing to a string does not fail.
            let _ = write!(line, " {number:>10}");
        }
        text += format!("{line}  {reasons}").trim_end();
        text.push('\n');
    }
    text
}
