//! `stepwell plot`: the curves of one metric.

mod axis;
mod curve;
mod data;
mod picture;
mod terminal;

use std::io::Write;
use std::path::Path;

use stepwell_engine::Store;

use crate::args::{PlotArgs, XAxis};
use crate::error::{CliError, Result};
use crate::out::{self, Out};
use crate::{messages, text};

pub use curve::Curve;
use data::{Request, fetch};

/// Width of a picture in pixels.
const PICTURE_WIDTH: u16 = 960;
/// Height of a picture in pixels.
const PICTURE_HEIGHT: u16 = 540;
/// Width in characters where stdout is no terminal.
const COLUMNS: u16 = 100;
/// Lines of a drawing.
const ROWS: u16 = 20;
/// Smallest picture that has room for axes and legend.
const PICTURE_PIXELS_MIN: u16 = 200;

/// What is written on and beside a plot.
#[derive(Clone, Debug)]
pub struct Labels {
    /// Above it.
    pub title: String,
    /// At the x axis.
    pub x: String,
    /// At the y axis.
    pub y: String,
}

/// How the axes are scaled.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Whether the y axis is logarithmic.
    pub is_log_y: bool,
}

/// Draws the curves that the command line asks for.
///
/// # Errors
/// [`CliError::NoMetric`], [`CliError::SeveralMetricsNames`], [`CliError::NothingToPlot`], [`CliError::Io`].
pub fn run(store: &Store, args: &PlotArgs, out: &mut Out) -> Result<()> {
    let spinner = messages::spinner("reading curves");
    let curves = read(store, args);
    spinner.finish_and_clear();
    let curves = prepare(curves?, args)?;
    let labels = labels(args);
    let frame = Frame { is_log_y: args.log_y };
    if args.svg.is_none() && args.png.is_none() {
        let size = terminal::TerminalSize {
            columns: args.width.unwrap_or_else(|| terminal_columns(out)),
            rows: args.height.unwrap_or(ROWS),
            has_colours: out.has_colours(),
        };
        return Ok(out.write_all(terminal::draw(&curves, &labels, &frame, size).as_bytes())?);
    }
    let size = picture::PictureSize {
        width: args.width.unwrap_or(PICTURE_WIDTH).max(PICTURE_PIXELS_MIN),
        height: args.height.unwrap_or(PICTURE_HEIGHT).max(PICTURE_PIXELS_MIN),
    };
    if let Some(path) = &args.svg {
        write_picture(path, picture::svg(&curves, &labels, &frame, size).as_bytes())?;
    }
    if let Some(path) = &args.png {
        write_picture(path, &picture::png(&curves, &labels, &frame, size)?)?;
    }
    Ok(())
}

/// Characters across: the terminal's, or a width that fits a page.
pub fn terminal_columns(out: &Out) -> u16 {
    let size = if out.is_terminal() { terminal_size::terminal_size() } else { None };
    size.map_or(COLUMNS, |(width, _)| width.0.clamp(40, 160))
}

/// Reads the curves that the arguments ask for.
///
/// # Errors
/// As [`run`].
pub fn read(store: &Store, args: &PlotArgs) -> Result<Vec<Curve>> {
    let request = Request {
        runs: args.runs.clone(),
        metric: args.metric.clone(),
        metrics_name: args.metrics_name.clone(),
        pipeline: args.pipeline.clone(),
        stage: args.stage.clone(),
        by: args.by.clone(),
        x: args.x.clone(),
    };
    fetch(store, &request)
}

/// Draws curves as text, `rows` lines high.
///
/// # Errors
/// [`CliError::NothingToPlot`].
pub fn draw_text(curves: Vec<Curve>, args: &PlotArgs, rows: u16, out: &Out) -> Result<String> {
    let curves = prepare(curves, args)?;
    let size =
        terminal::TerminalSize { columns: terminal_columns(out).min(COLUMNS), rows, has_colours: out.has_colours() };
    Ok(terminal::draw(&curves, &labels(args), &Frame { is_log_y: args.log_y }, size))
}

fn write_picture(path: &Path, bytes: &[u8]) -> Result<()> {
    out::write_file(path, |file| file.write_all(bytes).map_err(CliError::io("write", path)))?;
    messages::say(&format!("wrote {} ({})", path.display(), text::bytes(bytes.len() as u64)));
    Ok(())
}

/// Removes what cannot be drawn, says so, and smooths the rest.
fn prepare(mut curves: Vec<Curve>, args: &PlotArgs) -> Result<Vec<Curve>> {
    for curve in &mut curves {
        let skipped = curve.clean(args.log_y);
        if skipped.non_finite > 0 {
            messages::say(&format!("{}: {} NaN or infinite and not drawn", curve.label, values(skipped.non_finite)));
        }
        if skipped.not_positive > 0 {
            let count = values(skipped.not_positive);
            messages::say(&format!("{}: {count} not above zero and not drawn (--log-y)", curve.label));
        }
        if args.smooth > 0.0 {
            curve.smooth(args.smooth);
        }
        curve.clamp(args.y_min, args.y_max);
    }
    curves.retain(|curve| !curve.points.is_empty());
    if curves.is_empty() { Err(CliError::NothingToPlot { metric: args.metric.clone() }) } else { Ok(curves) }
}

fn values(count: usize) -> String {
    format!("{} {}", text::plural(count as u64, "value"), if count == 1 { "is" } else { "are" })
}

fn labels(args: &PlotArgs) -> Labels {
    let smooth = if args.smooth > 0.0 { format!(" (smoothed {})", text::number(args.smooth)) } else { String::new() };
    let x = match &args.x {
        XAxis::Step => "step".to_owned(),
        XAxis::Time => "seconds since the first value".to_owned(),
        XAxis::Metric(metric) => metric.clone(),
    };
    Labels { title: format!("{}{smooth}", args.metric), x, y: args.metric.clone() }
}
