//! Curves as SVG or PNG, drawn by kuva.

use kuva::plot::{LegendPosition, LinePlot};
use kuva::render::layout::Layout;
use kuva::render::palette::Palette;
use kuva::render::plots::Plot;

use super::curve::{Curve, bounds, groups};
use super::{Frame, Labels};
use crate::error::{CliError, Result};

/// Pixels per unit of length in a PNG, so that it is sharp on today's screens.
const PNG_SCALE: f32 = 2.0;

/// Size of a picture in pixels; a PNG has [`PNG_SCALE`] times as many each way. The legend comes below it.
#[derive(Clone, Copy, Debug)]
pub struct PictureSize {
    /// Across.
    pub width: u16,
    /// Down.
    pub height: u16,
}

/// The plot as an SVG document.
pub fn svg(curves: &[Curve], labels: &Labels, frame: &Frame, size: PictureSize) -> String {
    let (plots, layout) = scene(curves, labels, frame, size);
    kuva::render_to_svg(plots, layout)
}

/// The plot as a PNG file.
///
/// # Errors
/// [`CliError::Render`].
pub fn png(curves: &[Curve], labels: &Labels, frame: &Frame, size: PictureSize) -> Result<Vec<u8>> {
    let (plots, layout) = scene(curves, labels, frame, size);
    kuva::render_to_raster(plots, layout, PNG_SCALE).map_err(|fault| CliError::Render { fault })
}

fn scene(curves: &[Curve], labels: &Labels, frame: &Frame, size: PictureSize) -> (Vec<Plot>, Layout) {
    let x_range = bounds(curves).map_or((0.0, 1.0), |(x, _)| x);
    let palette = Palette::tol_bright();
    let colours = palette.colors();
    let (names, groups) = groups(curves);
    let line = |(i, curve): (usize, &Curve)| {
        let group = groups[i];
        let mut thinned = curve.clone();
        thinned.thin(usize::from(size.width), x_range);
        let plot = LinePlot::new()
            .with_data(thinned.points)
            .with_color(colours[group % colours.len()].as_str())
            .with_stroke_width(1.5);
        // A second round through the colours is dashed, so that no two curves look the same too soon.
        let plot = if (group / colours.len()) % 2 == 1 { plot.with_dashed() } else { plot };
        let is_first = !groups[..i].contains(&group);
        let has_entry = is_first && names.len() > 1;
        Plot::Line(if has_entry { plot.with_legend(literal(&curve.group)) } else { plot })
    };
    let plots: Vec<Plot> = curves.iter().enumerate().map(line).collect();
    let layout = Layout::auto_from_plots(&plots)
        .with_title(literal(&labels.title))
        .with_x_label(literal(&labels.x))
        .with_y_label(literal(&labels.y))
        .with_width(f64::from(size.width))
        .with_height(f64::from(size.height))
        .with_legend_position(LegendPosition::OutsideBottomColumns);
    let layout = if frame.is_log_y { layout.with_log_y() } else { layout };
    (plots, layout)
}

/// A text in which no `$` starts a formula.
fn literal(text: &str) -> String {
    text.replace('$', "\\$")
}
