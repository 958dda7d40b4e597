//! Curves as SVG or PNG, drawn by kuva. The legend is ours: it gets as much room below the plot as it needs.

use std::sync::Arc;

use kuva::TickFormat;
use kuva::backend::raster::RasterBackend;
use kuva::backend::svg::SvgBackend;
use kuva::plot::{LinePlot, LineStyle};
use kuva::render::layout::Layout;
use kuva::render::palette::Palette;
use kuva::render::plots::Plot;
use kuva::render::render::{Primitive, Scene, TextAnchor, render_multiple};

use super::curve::{Curve, bounds, groups};
use super::{Frame, Labels};
use crate::error::{CliError, Result};
use crate::text;

/// Pixels per unit of length in a PNG, so that it is sharp on today's screens.
const PNG_SCALE: f32 = 2.0;
/// Size of the letters of the legend.
const LEGEND_TEXT: u32 = 12;
/// Height of a line of the legend.
const LEGEND_LINE: f64 = 20.0;
/// Distance of the legend from the left and right edges.
const LEGEND_MARGIN: f64 = 60.0;
/// Length of the stroke before a name, and of the gaps around it.
const LEGEND_STROKE: f64 = 24.0;
/// Width of a letter on average, generously.
const LEGEND_LETTER: f64 = 7.5;
/// Longest name in the legend, in letters.
const LEGEND_NAME_MAX: usize = 60;
/// Room beyond the extremes on a logarithmic axis, as a factor.
const LOG_MARGIN: f64 = 1.1;

/// Size of a picture in pixels; a PNG has twice as many each way. The legend comes below it.
#[derive(Clone, Copy, Debug)]
pub struct PictureSize {
    /// Across.
    pub width: u16,
    /// Down.
    pub height: u16,
}

/// The plot as an SVG document.
pub fn svg(curves: &[Curve], labels: &Labels, frame: &Frame, size: PictureSize) -> String {
    SvgBackend.render_scene(&scene(curves, labels, frame, size))
}

/// The plot as a PNG file.
///
/// # Errors
/// [`CliError::Render`].
pub fn png(curves: &[Curve], labels: &Labels, frame: &Frame, size: PictureSize) -> Result<Vec<u8>> {
    let backend = RasterBackend::new().with_scale(PNG_SCALE);
    backend.render_scene(&scene(curves, labels, frame, size)).map_err(|fault| CliError::Render { fault })
}

/// How a group of curves is drawn.
struct Stroke {
    colour: String,
    style: LineStyle,
}

/// The strokes of that many groups. A second round through the colours is dashed, a third dotted, so that groups stay
/// apart for long.
fn strokes(groups: usize) -> Vec<Stroke> {
    let palette = Palette::tol_bright();
    let colours = palette.colors();
    let stroke = |group: usize| {
        let style = match group / colours.len() % 3 {
            0 => LineStyle::Solid,
            1 => LineStyle::Dashed,
            _ => LineStyle::Dotted,
        };
        Stroke { colour: colours[group % colours.len()].clone(), style }
    };
    (0..groups).map(stroke).collect()
}

fn scene(curves: &[Curve], labels: &Labels, frame: &Frame, size: PictureSize) -> Scene {
    let (x_range, y_range) = bounds(curves).unwrap_or(((0.0, 1.0), (0.0, 1.0)));
    let (names, groups) = groups(curves);
    let strokes = strokes(names.len());
    let plots: Vec<Plot> = curves
        .iter()
        .zip(groups)
        .map(|(curve, group)| {
            let mut thinned = curve.clone();
            thinned.thin(usize::from(size.width), x_range);
            let stroke = &strokes[group];
            let plot = LinePlot::new().with_data(thinned.points).with_stroke_width(1.5);
            Plot::Line(plot.with_color(stroke.colour.as_str()).with_line_style(stroke.style.clone()))
        })
        .collect();
    let numbers = TickFormat::Custom(Arc::new(text::number));
    let mut layout = Layout::auto_from_plots(&plots)
        .with_title(literal(&labels.title))
        .with_x_label(literal(&labels.x))
        .with_y_label(literal(&labels.y))
        .with_tick_format(numbers)
        .with_width(f64::from(size.width))
        .with_height(f64::from(size.height));
    if x_range.1 > x_range.0 {
        layout = layout.with_x_axis_min(x_range.0).with_x_axis_max(x_range.1);
    }
    if frame.is_log_y {
        layout = layout.with_log_y().with_y_axis_min(y_range.0 / LOG_MARGIN).with_y_axis_max(y_range.1 * LOG_MARGIN);
    }
    let mut scene = render_multiple(plots, layout);
    if names.len() > 1 {
        add_legend(&mut scene, &names, &strokes);
    }
    scene
}

/// Adds the names of the groups below the plot, in columns, and makes the picture higher by what they need.
fn add_legend(scene: &mut Scene, names: &[&str], strokes: &[Stroke]) {
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(LEGEND_NAME_MAX);
    let column_width = 2.0 * LEGEND_STROKE + longest as f64 * LEGEND_LETTER;
    let columns = (((scene.width - 2.0 * LEGEND_MARGIN) / column_width) as usize).max(1);
    let top = scene.height;
    for (i, (name, stroke)) in names.iter().zip(strokes).enumerate() {
        let x = LEGEND_MARGIN + (i % columns) as f64 * column_width;
        let y = top + ((i / columns) as f64 + 0.5) * LEGEND_LINE;
        scene.elements.push(Primitive::Line {
            x1: x,
            y1: y,
            x2: x + LEGEND_STROKE,
            y2: y,
            stroke: stroke.colour.as_str().into(),
            stroke_width: 2.0,
            stroke_dasharray: stroke.style.dasharray(),
        });
        scene.elements.push(Primitive::Text {
            x: x + 1.3 * LEGEND_STROKE,
            // Text stands on its y, so it is moved down by a third of its size to be centred on the stroke.
            y: y + f64::from(LEGEND_TEXT) / 3.0,
            content: literal(&text::shorten(name, LEGEND_NAME_MAX)),
            size: LEGEND_TEXT,
            anchor: TextAnchor::Start,
            rotate: None,
            bold: false,
            color: None,
        });
    }
    scene.height += (names.len().div_ceil(columns) as f64 + 0.5) * LEGEND_LINE;
}

/// A text in which no `$` starts a formula.
fn literal(text: &str) -> String {
    text.replace('$', "\\$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_has_room_for_every_group() {
        let labels = Labels { title: "loss".into(), x: "step".into(), y: "loss".into() };
        let size = PictureSize { width: 400, height: 300 };
        let curve = |i: usize| Curve {
            label: format!("run {i}"),
            group: format!("run {i} <&>"),
            points: vec![(0.0, i as f64), (1.0, 2.0)],
        };
        let curves: Vec<Curve> = (0..40).map(curve).collect();
        let drawn = scene(&curves, &labels, &Frame { is_log_y: false }, size);
        let lowest = drawn.elements.iter().filter_map(|element| match element {
            Primitive::Text { y, .. } => Some(*y),
            _ => None,
        });
        assert!(lowest.fold(0.0, f64::max) < drawn.height);
        let text = svg(&curves, &labels, &Frame { is_log_y: false }, size);
        assert!(text.contains("run 39 &lt;&amp;&gt;"), "names are escaped");
        let alone = scene(&curves[..1], &labels, &Frame { is_log_y: true }, size);
        assert_eq!(alone.height, 300.0);
    }
}
