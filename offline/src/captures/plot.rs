//! A picture of a capture: amplitude and phase of the subcarriers over the frames, of the link and the shape
//! that most frames have.

use std::fs::File;
use std::io::{self, BufWriter};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use num_complex::Complex32;
use operators::{PhaseMethod, sanitize};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use schemas::{CsiBatch, CsiLayout, Link};
use sources::CsiFormat;

use crate::CaptureError;
use crate::captures::Capture;

const FONT: &str = "sans-serif";
const CAPTION_PX: u32 = 15;
const HEAD_PX: u32 = 36;
/// Of a panel; there are two beside each other for each antenna pair.
const PANEL_PX: (u32, u32) = (720, 260);
/// Antenna pairs that are drawn at most.
const MOST_PAIRS: usize = 16;
/// Cells of a panel at most, over frames and over subcarriers.
const MOST_CELLS: [usize; 2] = [600, 200];
/// Values that are weaker than the strongest by more have the darkest colour.
const RANGE_DB: f32 = 40.0;

/// Draws a capture as a PNG.
///
/// # Errors
///
/// [`CaptureError`] if the capture cannot be read or has no frames, or the picture cannot be written.
pub fn plot(capture: &Path, format: Option<CsiFormat>, picture: &Path) -> Result<(), CaptureError> {
    let Some(subject) = Subject::find(Capture::open(capture, format)?)? else {
        return Err(CaptureError::Empty { path: capture.to_owned() });
    };
    let panels = subject.panels(Capture::open(capture, format)?)?;
    let failed = |source| CaptureError::Write { path: picture.to_owned(), source };
    draw(&subject, &panels, picture).map_err(failed)
}

/// The parts of a plot.
struct Subject {
    link: Link,
    layout: Arc<CsiLayout>,
    n_frames: usize,
}

impl Subject {
    /// The link and the shape that most frames have; none if there are no frames.
    fn find(mut capture: Capture) -> Result<Option<Self>, CaptureError> {
        let mut subjects: Vec<Self> = Vec::new();
        while let Some(batches) = capture.next()? {
            for batch in batches {
                match subjects.iter_mut().find(|subject| subject.has(&batch)) {
                    Some(subject) => subject.n_frames += batch.len(),
                    None => subjects.push(Self::of(batch)),
                }
            }
        }
        Ok(subjects.into_iter().max_by_key(|subject| subject.n_frames))
    }

    fn of(batch: CsiBatch) -> Self {
        Self { n_frames: batch.len(), link: batch.link, layout: batch.layout }
    }

    fn has(&self, batch: &CsiBatch) -> bool {
        self.link == batch.link && self.layout == batch.layout
    }

    /// A panel for each antenna pair, as far as they are drawn.
    fn panels(&self, mut capture: Capture) -> Result<Vec<Panel>, CaptureError> {
        let n_subcarriers = self.layout.subcarriers.len();
        let n_pairs = self.layout.n_values() / n_subcarriers.max(1);
        let mut panels = vec![Panel::new(self); n_pairs.min(MOST_PAIRS)];
        let mut frame = 0;
        while let Some(batches) = capture.next()? {
            for batch in batches.into_iter().filter(|batch| self.has(batch)) {
                let level = sanitize(batch.clone(), PhaseMethod::LinearFit).unwrap_or(batch);
                for nth in 0..level.len() {
                    let values = level.values(nth).chunks(n_subcarriers);
                    panels.iter_mut().zip(values).for_each(|(panel, it)| panel.add(frame, it));
                    frame += 1;
                }
            }
        }
        Ok(panels)
    }

    /// Subcarriers in ascending order.
    fn subcarriers(&self) -> Vec<i16> {
        let mut subcarriers = self.layout.subcarriers.clone();
        subcarriers.sort_unstable();
        subcarriers
    }

    fn caption(&self) -> String {
        let CsiLayout { n_rx, n_tx, subcarriers, bandwidth_mhz, .. } = &*self.layout;
        let Link { receiver, transmitter, .. } = &self.link;
        let (n_frames, n_subcarriers) = (self.n_frames, subcarriers.len());
        format!(
            "{receiver} <- {transmitter}: {n_frames} frames, {n_rx}x{n_tx}, \
             {n_subcarriers} subcarriers, {bandwidth_mhz} MHz"
        )
    }
}

/// An antenna pair: cells, each of some frames and some subcarriers.
#[derive(Clone)]
struct Panel {
    n_frames: usize,
    /// Cells over frames, and over subcarriers.
    n_cells: [usize; 2],
    /// The row of each value.
    rows: Vec<usize>,
    cells: Vec<Cell>,
}

/// Sums over the values of a cell.
#[derive(Clone, Copy, Default)]
struct Cell {
    amplitude: f32,
    n_values: f32,
    direction: Complex32,
}

impl Panel {
    fn new(subject: &Subject) -> Self {
        let subcarriers = subject.subcarriers();
        let n_cells = [
            subject.n_frames.min(MOST_CELLS[0]).max(1),
            subcarriers.len().min(MOST_CELLS[1]).max(1),
        ];
        let row = |subcarrier: &i16| {
            let rank = subcarriers.partition_point(|it| it < subcarrier);
            rank * n_cells[1] / subcarriers.len()
        };
        let rows = subject.layout.subcarriers.iter().map(row).collect();
        let cells = vec![Cell::default(); n_cells[0] * n_cells[1]];
        Self { n_frames: subject.n_frames, n_cells, rows, cells }
    }

    fn add(&mut self, frame: usize, values: &[Complex32]) {
        let column = frame * self.n_cells[0] / self.n_frames;
        for (value, row) in values.iter().zip(&self.rows) {
            let cell = &mut self.cells[column * self.n_cells[1] + row];
            let amplitude = value.norm();
            cell.n_values += 1.0;
            cell.amplitude += amplitude;
            if amplitude > 0.0 {
                cell.direction += value / amplitude;
            }
        }
    }

    /// Each cell with its frames and subcarriers, counted from 0.
    fn areas(&self, n_subcarriers: usize) -> impl Iterator<Item = (&Cell, [(f64, f64); 2])> {
        let [n_columns, n_rows] = self.n_cells;
        let width = self.n_frames as f64 / n_columns as f64;
        let height = n_subcarriers as f64 / n_rows as f64;
        self.cells.iter().enumerate().map(move |(nth, cell)| {
            let (column, row) = ((nth / n_rows) as f64, (nth % n_rows) as f64);
            let corner = |by: f64| ((column + by) * width, (row + by) * height);
            (cell, [corner(0.0), corner(1.0)])
        })
    }
}

impl Cell {
    fn amplitude_db(&self) -> f32 {
        20.0 * (self.amplitude / self.n_values.max(1.0)).log10()
    }

    fn amplitude_colour(&self, strongest_db: f32) -> RGBColor {
        let part = 1.0 + (self.amplitude_db() - strongest_db) / RANGE_DB;
        ViridisRGB.get_color_normalized(part.clamp(0.0, 1.0), 0.0, 1.0)
    }

    /// The same colour at both ends of the circle; grey where the phase is anything.
    fn phase_colour(&self) -> HSLColor {
        let turn = f64::from(self.direction.arg()) / std::f64::consts::TAU;
        let steadiness = self.direction.norm() / self.n_values.max(1.0);
        HSLColor(turn.rem_euclid(1.0), f64::from(steadiness.clamp(0.0, 1.0)), 0.5)
    }
}

fn draw(subject: &Subject, panels: &[Panel], picture: &Path) -> io::Result<()> {
    // A font that is part of the program.
    if register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_err() {
        return Err(io::Error::other("the font cannot be used"));
    }
    let (width, height) = (2 * PANEL_PX.0, HEAD_PX + panels.len() as u32 * PANEL_PX.1);
    let mut pixels = vec![0; (3 * width * height) as usize];
    let drawn = draw_panels(subject, panels, &mut pixels, (width, height));
    drawn.map_err(|error| io::Error::other(error.to_string()))?;
    let mut encoder = png::Encoder::new(BufWriter::new(File::create(picture)?), width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish().map_err(io::Error::from)
}

fn draw_panels(
    subject: &Subject,
    panels: &[Panel],
    pixels: &mut [u8],
    size: (u32, u32),
) -> Result<(), Box<dyn std::error::Error>> {
    let area = BitMapBackend::with_buffer(pixels, size).into_drawing_area();
    area.fill(&WHITE)?;
    let (head, body) = area.split_vertically(HEAD_PX);
    head.titled(&subject.caption(), (FONT, CAPTION_PX + 3))?;
    let cells = panels.iter().flat_map(|panel| &panel.cells).filter(|cell| cell.n_values > 0.0);
    let strongest_db = cells.map(Cell::amplitude_db).fold(f32::NEG_INFINITY, f32::max);
    let n_tx = usize::from(subject.layout.n_tx).max(1);
    for (pair, (panel, areas)) in
        panels.iter().zip(body.split_evenly((panels.len(), 2)).chunks(2)).enumerate()
    {
        let of = format!("receive antenna {}, stream {}", pair / n_tx, pair % n_tx);
        let n_subcarriers = subject.layout.subcarriers.len();
        let amplitude =
            format!("amplitude, {:.0} to {strongest_db:.0} dB: {of}", strongest_db - RANGE_DB);
        let colour = |cell: &Cell| cell.amplitude_colour(strongest_db).filled();
        let cells = panel.areas(n_subcarriers);
        let cells = cells.map(|(cell, corners)| Rectangle::new(corners, colour(cell)));
        draw_panel(subject, &areas[0], &amplitude, cells)?;
        let cells = panel.areas(n_subcarriers);
        let cells =
            cells.map(|(cell, corners)| Rectangle::new(corners, cell.phase_colour().filled()));
        draw_panel(
            subject,
            &areas[1],
            &format!("phase without its line, a turn in all colours: {of}"),
            cells,
        )?;
    }
    area.present()?;
    Ok(())
}

fn draw_panel<DB: DrawingBackend>(
    subject: &Subject,
    area: &DrawingArea<DB, plotters::coord::Shift>,
    caption: &str,
    cells: impl Iterator<Item = Rectangle<(f64, f64)>>,
) -> Result<(), Box<dyn std::error::Error>>
where
    DB::ErrorType: 'static,
{
    let subcarriers = subject.subcarriers();
    let frames: Range<f64> = 0.0..subject.n_frames as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .caption(caption, (FONT, CAPTION_PX))
        .x_label_area_size(32)
        .y_label_area_size(48)
        .build_cartesian_2d(frames, 0.0..subcarriers.len() as f64)?;
    let subcarrier =
        |rank: &f64| subcarriers.get(*rank as usize).map(ToString::to_string).unwrap_or_default();
    chart
        .configure_mesh()
        .disable_mesh()
        .x_desc("frame")
        .y_desc("subcarrier")
        .x_label_formatter(&|frame| format!("{frame:.0}"))
        .y_label_formatter(&subcarrier)
        .draw()?;
    chart.draw_series(cells)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_mean_of_its_values() {
        let layout = CsiLayout { n_rx: 1, n_tx: 1, subcarriers: vec![1, -1], ..Default::default() };
        let subject = Subject { link: Link::default(), layout: layout.into(), n_frames: 1200 };
        let mut panel = Panel::new(&subject);
        assert_eq!(panel.n_cells, [600, 2]);
        for frame in 0..1200 {
            let strong = if frame % 2 == 0 { 5.0 } else { 15.0 };
            panel.add(frame, &[Complex32::new(0.0, strong), Complex32::ZERO]);
        }
        let cells: Vec<_> = panel.areas(2).collect();
        let [(below, _), (above, corners)] = cells[2 * 7..2 * 7 + 2] else { panic!("two rows") };
        assert_eq!(corners, [(14.0, 1.0), (16.0, 2.0)]);
        assert!((above.amplitude_db() - 20.0).abs() < 1e-4);
        assert!((above.phase_colour().0 - 0.25).abs() < 1e-6);
        assert!((above.phase_colour().1 - 1.0).abs() < 1e-6);
        assert_eq!(
            (below.amplitude_colour(20.0), below.phase_colour().1),
            (RGBColor(68, 1, 84), 0.0)
        );
    }
}
