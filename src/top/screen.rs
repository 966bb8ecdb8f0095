//! A table on the terminal's alternate screen.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::Constraint;
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Block, Row, Table};

use crate::top::load::{ComponentLoad, HEADER};

/// Share of a worker's time above which a component is shown in red.
const BUSY: f64 = 0.8;

/// The terminal. Dropping it restores the previous screen.
pub(super) struct Screen {
    terminal: DefaultTerminal,
}

impl Screen {
    pub(super) fn open() -> Result<Self> {
        let terminal = ratatui::try_init().context("could not open the terminal")?;
        Ok(Self { terminal })
    }

    /// Waits for at most `interval`. Returns true as soon as `q`, Escape or Ctrl-C is pressed.
    #[expect(clippy::disallowed_methods, reason = "a screen is refreshed by the clock")]
    pub(super) fn quits_within(interval: Duration) -> Result<bool> {
        let until = Instant::now() + interval;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || !event::poll(left)? {
                return Ok(false);
            }
            let Event::Key(key) = event::read()? else { continue };
            let interrupted =
                key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
            if interrupted || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                return Ok(true);
            }
        }
    }

    pub(super) fn draw(&mut self, loads: &[ComponentLoad]) -> Result<()> {
        let rows = loads.iter().map(|load| {
            let colour = if load.busy > BUSY { Color::Red } else { Color::Reset };
            Row::new(load.cells()).style(Style::new().fg(colour))
        });
        let widths = [Constraint::Length(14)]
            .into_iter()
            .chain([7, 7, 9, 8, 6, 6, 6, 8].map(Constraint::Length));
        let widths = widths.chain([Constraint::Fill(1)]);
        let block = Block::bordered()
            .title(" fresnel top ")
            .title_bottom(Line::from(" q: quit   *: delays the others ").right_aligned());
        let table = Table::new(rows, widths).header(Row::new(HEADER).bold()).block(block);
        self.terminal.draw(|frame| frame.render_widget(table, frame.area()))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}
