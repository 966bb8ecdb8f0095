//! Plots a capture: amplitude and phase of the subcarriers over the frames. The plot shows the link and the
//! shape with the most frames.

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
const LABEL_PX: u32 = 12;
const HEAD_PX: u32 = 36;
/// Width and height of a panel. Each antenna pair has two panels side by side.
const PANEL_PX: (u32, u32) = (720, 260);
/// Maximum number of antenna pairs in a plot.
const MOST_PAIRS: usize = 16;
/// Maximum number of cells of a panel, over frames and over subcarriers.
const MOST_CELLS: [usize; 2] = [600, 200];
/// Shares of the cells below the darkest and below the brightest colour: outliers do not set the contrast.
const CONTRAST: [f64; 2] = [0.02, 0.98];
/// Width of a colour bar with its labels, and its number of colours.
const BAR_PX: u32 = 86;
const BAR_COLOURS: u32 = 64;
const NS_PER_S: f64 = 1e9;

/// Draws a capture as a PNG.
///
/// # Errors
///
/// [`CaptureError`] if the capture cannot be read or has no frames, or the picture cannot be written.
pub fn plot(capture: &Path, format: Option<CsiFormat>, picture: &Path) -> Result<(), CaptureError> {
    if !picture.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
        return Err(CaptureError::Picture { path: picture.to_owned() });
    }
    let Some(mut subject) = Subject::find(Capture::open(capture, format)?)? else {
        return Err(CaptureError::Empty { path: capture.to_owned() });
    };
    let panels = subject.panels(Capture::open(capture, format)?)?;
    let failed = |source| CaptureError::Write { path: picture.to_owned(), source };
    draw(&subject, &panels, picture).map_err(failed)
}

/// The link and the shape that a plot shows.
struct Subject {
    link: Link,
    layout: Arc<CsiLayout>,
    n_frames: usize,
    /// The capture time of each frame, once the panels are made.
    captured_at_ns: Vec<i64>,
}

impl Subject {
    /// Returns the link and the shape with the most frames; none without frames.
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
        let (n_frames, captured_at_ns) = (batch.len(), Vec::new());
        Self { n_frames, link: batch.link, layout: batch.layout, captured_at_ns }
    }

    fn has(&self, batch: &CsiBatch) -> bool {
        self.link == batch.link && self.layout == batch.layout
    }

    /// Returns a panel for each antenna pair, for at most `MOST_PAIRS` pairs.
    fn panels(&mut self, mut capture: Capture) -> Result<Vec<Panel>, CaptureError> {
        let n_subcarriers = self.layout.subcarriers.len();
        let n_pairs = self.layout.n_values() / n_subcarriers.max(1);
        let mut panels = vec![Panel::new(self); n_pairs.min(MOST_PAIRS)];
        let mut frame = 0;
        while let Some(batches) = capture.next()? {
            for batch in batches {
                if !self.has(&batch) {
                    continue;
                }
                self.captured_at_ns.extend(&batch.captured_at_ns);
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

    /// Returns the subcarriers in ascending order.
    fn subcarriers(&self) -> Vec<i16> {
        let mut subcarriers = self.layout.subcarriers.clone();
        subcarriers.sort_unstable();
        subcarriers
    }

    /// Returns the time of a frame in seconds since the first one.
    fn seconds(&self, frame: f64) -> String {
        let first_ns = self.captured_at_ns.first().copied().unwrap_or_default();
        let time_ns = self.captured_at_ns.get(frame as usize).or(self.captured_at_ns.last());
        let since_ns = time_ns.map_or(0, |time_ns| time_ns.saturating_sub(first_ns));
        format!("{:.1}", since_ns as f64 / NS_PER_S)
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

/// The values of an antenna pair, in cells of several frames and subcarriers.
#[derive(Clone)]
struct Panel {
    n_frames: usize,
    /// Number of cells over frames, and over subcarriers.
    n_cells: [usize; 2],
    /// The row of the cell of each value.
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

    /// Returns each cell with its range of frames and subcarriers as two corners, counted from 0.
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

    fn amplitude_colour(&self, range_db: &Range<f64>) -> RGBColor {
        amplitude_colour(self.amplitude_db().into(), range_db)
    }

    /// Returns the colour of the mean phase: the same at both ends of the circle, and grey for random
    /// phases.
    fn phase_colour(&self) -> HSLColor {
        let steadiness = self.direction.norm() / self.n_values.max(1.0);
        let HSLColor(hue, _, lightness) = steady_phase_colour(self.direction.arg().into());
        HSLColor(hue, f64::from(steadiness.clamp(0.0, 1.0)), lightness)
    }
}

/// Returns the colour of a phase in radians that does not vary.
fn steady_phase_colour(phase: f64) -> HSLColor {
    HSLColor((phase / std::f64::consts::TAU).rem_euclid(1.0), 1.0, 0.5)
}

fn amplitude_colour(amplitude_db: f64, range_db: &Range<f64>) -> RGBColor {
    let amplitude_db = amplitude_db.clamp(range_db.start, range_db.end);
    ViridisRGB.get_color_normalized(amplitude_db, range_db.start, range_db.end)
}

/// Returns the range of amplitudes in dB that the colours show.
fn contrast(panels: &[Panel]) -> Range<f64> {
    let cells = panels.iter().flat_map(|panel| &panel.cells).filter(|cell| cell.amplitude > 0.0);
    let mut levels_db: Vec<_> = cells.map(|cell| f64::from(cell.amplitude_db())).collect();
    levels_db.sort_by(f64::total_cmp);
    let level = |share: f64| {
        let nth = (share * levels_db.len() as f64) as usize;
        levels_db.get(nth.min(levels_db.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    let [lowest, highest] = CONTRAST.map(level);
    lowest..highest.max(lowest + 1.0)
}

fn draw(subject: &Subject, panels: &[Panel], picture: &Path) -> io::Result<()> {
    // The font is part of the program.
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
    let range_db = contrast(panels);
    let turn = -std::f64::consts::PI..std::f64::consts::PI;
    let n_tx = usize::from(subject.layout.n_tx).max(1);
    let n_subcarriers = subject.layout.subcarriers.len();
    for (pair, (panel, areas)) in
        panels.iter().zip(body.split_evenly((panels.len(), 2)).chunks(2)).enumerate()
    {
        let of = format!("receive antenna {}, stream {}", pair / n_tx, pair % n_tx);
        let (amplitude, bar) = areas[0].split_horizontally(PANEL_PX.0 - BAR_PX);
        let cells = panel.areas(n_subcarriers).map(|(cell, corners)| {
            Rectangle::new(corners, cell.amplitude_colour(&range_db).filled())
        });
        draw_panel(subject, &amplitude, &format!("amplitude: {of}"), cells)?;
        draw_bar(&bar, "dB", &range_db, |level| amplitude_colour(level, &range_db).filled())?;
        let (phase, bar) = areas[1].split_horizontally(PANEL_PX.0 - BAR_PX);
        let cells = panel
            .areas(n_subcarriers)
            .map(|(cell, corners)| Rectangle::new(corners, cell.phase_colour().filled()));
        draw_panel(subject, &phase, &format!("phase without its line: {of}"), cells)?;
        draw_bar(&bar, "rad", &turn, |phase| steady_phase_colour(phase).filled())?;
    }
    area.present()?;
    Ok(())
}

/// Draws the colours of a range of values.
fn draw_bar<DB: DrawingBackend>(
    area: &DrawingArea<DB, plotters::coord::Shift>,
    unit: &str,
    range: &Range<f64>,
    colour: impl Fn(f64) -> ShapeStyle,
) -> Result<(), Box<dyn std::error::Error>>
where
    DB::ErrorType: 'static,
{
    let mut chart = ChartBuilder::on(area)
        .margin(6)
        .caption(unit, (FONT, CAPTION_PX))
        .margin_bottom(38)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..1.0, range.clone())?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(0)
        .y_labels(5)
        .y_label_style((FONT, LABEL_PX))
        .y_label_formatter(&|value| format!("{value:.1}"))
        .draw()?;
    let step = (range.end - range.start) / f64::from(BAR_COLOURS);
    let colours = (0..BAR_COLOURS).map(|nth| {
        let from = range.start + f64::from(nth) * step;
        Rectangle::new([(0.0, from), (1.0, from + step)], colour(from + step / 2.0))
    });
    chart.draw_series(colours)?;
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
        .x_desc("seconds since the first frame")
        .y_desc("subcarrier")
        .x_label_formatter(&|frame| subject.seconds(*frame))
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
        let captured_at_ns = (0..1200).map(|nth| nth * 500_000_000).collect();
        let (link, layout) = (Link::default(), layout.into());
        let subject = Subject { link, layout, n_frames: 1200, captured_at_ns };
        assert_eq!((subject.seconds(3.0), subject.seconds(9e9)), ("1.5".into(), "599.5".into()));
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
            (below.amplitude_colour(&(-20.0..20.0)), below.phase_colour().1),
            (RGBColor(68, 1, 84), 0.0)
        );
    }
}
