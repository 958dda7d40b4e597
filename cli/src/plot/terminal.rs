//! Curves in the terminal: braille dots, drawn by ratatui into a buffer that is printed as text.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Color;
use ratatui::widgets::Widget;
use ratatui::widgets::canvas::{Canvas, Context, Line, Points};

use super::axis::Axis;
use super::curve::{Curve, bounds, groups};
use super::{Frame, Labels};
use crate::text;

/// Dots in one character: across.
const DOTS_ACROSS: usize = 2;
/// Colours of the curves, in turn; the first eight of the terminal's own but black and white.
const COLOURS: [(Color, u8); 6] = [
    (Color::Cyan, 36),
    (Color::Yellow, 33),
    (Color::Green, 32),
    (Color::Magenta, 35),
    (Color::Blue, 34),
    (Color::Red, 31),
];
/// Marks of the curves at the right edge and in the legend.
const MARKS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// Size and looks of a terminal plot.
#[derive(Clone, Copy, Debug)]
pub struct TerminalSize {
    /// Characters across, axis labels included.
    pub columns: u16,
    /// Lines of the drawing itself.
    pub rows: u16,
    /// Whether to colour the curves.
    pub has_colours: bool,
}

/// Draws the curves; empty text when there is no point.
pub fn draw(curves: &[Curve], labels: &Labels, frame: &Frame, size: TerminalSize) -> String {
    let Some((x_bounds, y_bounds)) = bounds(curves) else { return String::new() };
    let (x_axis, y_axis) = (Axis::new(x_bounds, false), Axis::new(y_bounds, frame.is_log_y));
    let rows = size.rows.max(4);
    let y_ticks = tick_rows(&y_axis, rows);
    let gutter = y_ticks.iter().flatten().map(|label| label.chars().count()).max().unwrap_or(0);
    let columns = usize::from(size.columns).saturating_sub(gutter + 4).max(10) as u16;
    let canvas = paint(curves, &x_axis, &y_axis, columns, rows);
    let marks = mark_rows(curves, &y_axis, rows);

    let mut text = format!("{:gutter$}  {}\n", "", labels.title);
    for row in 0..rows {
        let label = y_ticks[usize::from(row)].as_deref().unwrap_or("");
        let edge = if label.is_empty() { '│' } else { '┤' };
        text.push_str(&format!("{label:>gutter$} {edge}"));
        text.push_str(&row_text(&canvas, row, columns, size.has_colours));
        match marks[usize::from(row)] {
            Some(group) => text.push_str(&format!(" {}\n", coloured(&mark(group), group, size.has_colours))),
            None => text.push('\n'),
        }
    }
    text.push_str(&bottom(&x_axis, gutter, usize::from(columns), &labels.x));
    text.push_str(&legend(curves, gutter, size));
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn paint(curves: &[Curve], x_axis: &Axis, y_axis: &Axis, columns: u16, rows: u16) -> Buffer {
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    let draw = |context: &mut Context<'_>| {
        for (curve, group) in curves.iter().zip(groups(curves).1) {
            let colour = COLOURS[group % COLOURS.len()].0;
            let mut thinned = curve.clone();
            let [x_min, x_max] = x_axis.range();
            thinned.thin(usize::from(columns) * DOTS_ACROSS, (x_min, x_max));
            let at: Vec<(f64, f64)> = thinned.points.iter().map(|(x, y)| (*x, y_axis.position(*y))).collect();
            for pair in at.windows(2) {
                context.draw(&Line::new(pair[0].0, pair[0].1, pair[1].0, pair[1].1, colour));
            }
            // A line between two equal points may draw nothing, and a curve of one point has no line.
            context.draw(&Points { coords: &at, color: colour });
        }
    };
    Canvas::default().x_bounds(x_axis.range()).y_bounds(y_axis.range()).paint(draw).render(area, &mut buffer);
    buffer
}

fn row_text(canvas: &Buffer, row: u16, columns: u16, has_colours: bool) -> String {
    let mut text = String::new();
    let mut current = None;
    for column in 0..columns {
        let Some(cell) = canvas.cell((column, row)) else { continue };
        let code = COLOURS.iter().find(|(colour, _)| *colour == cell.fg).map(|(_, code)| *code);
        // Blanks keep the colour before them, so that a line of dots needs few changes.
        if has_colours && cell.symbol() != " " && code != current {
            text.push_str(&code.map_or("\x1b[0m".to_owned(), |code| format!("\x1b[{code}m")));
            current = code;
        }
        text.push_str(cell.symbol());
    }
    if current.is_some() {
        text.push_str("\x1b[0m");
    }
    text
}

/// The line that a position of the y axis falls into.
fn row_of(axis: &Axis, position: f64, rows: u16) -> usize {
    let [min, max] = axis.range();
    let share = ((max - position) / (max - min)).clamp(0.0, 1.0);
    (share * f64::from(rows - 1)).round() as usize
}

fn tick_rows(axis: &Axis, rows: u16) -> Vec<Option<String>> {
    let mut labels = vec![None; usize::from(rows)];
    for (position, label) in axis.ticks(usize::from(rows) / 3) {
        labels[row_of(axis, position, rows)] = Some(label);
    }
    labels
}

/// Which group's mark stands at the right of each line: where its first curve ends, or at the nearest free line.
fn mark_rows(curves: &[Curve], axis: &Axis, rows: u16) -> Vec<Option<usize>> {
    let mut marks = vec![None; usize::from(rows)];
    let (names, groups) = groups(curves);
    if names.len() < 2 {
        return marks;
    }
    for group in 0..names.len() {
        let first = groups.iter().position(|of_curve| *of_curve == group).map(|first| &curves[first]);
        let Some((_, y)) = first.and_then(|curve| curve.points.last()) else { continue };
        let wanted = row_of(axis, axis.position(*y), rows);
        let free = (0..marks.len()).filter(|row| marks[*row].is_none()).min_by_key(|row| row.abs_diff(wanted));
        if let Some(row) = free {
            marks[row] = Some(group);
        }
    }
    marks
}

fn bottom(axis: &Axis, gutter: usize, columns: usize, x_label: &str) -> String {
    let [min, max] = axis.range();
    let mut line = vec!['─'; columns];
    let mut numbers = vec![' '; columns];
    for (position, label) in axis.ticks(columns / 14) {
        let at = ((position - min) / (max - min) * (columns - 1) as f64).round() as usize;
        let length = label.chars().count();
        let start = at.saturating_sub(length / 2).min(columns.saturating_sub(length));
        let is_free = start + length <= columns
            && numbers[start.saturating_sub(1)..(start + length + 1).min(columns)].iter().all(|c| *c == ' ');
        if is_free {
            line[at.min(columns - 1)] = '┬';
            numbers.splice(start..start + length, label.chars());
        }
    }
    let (line, numbers): (String, String) = (line.into_iter().collect(), numbers.into_iter().collect());
    let label = format!("{:>width$}", x_label, width = columns);
    format!("{:gutter$} └{line}\n{:gutter$}  {numbers}\n{:gutter$}  {label}\n", "", "", "")
}

fn legend(curves: &[Curve], gutter: usize, size: TerminalSize) -> String {
    let (names, _) = groups(curves);
    if names.len() < 2 {
        return String::new();
    }
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0).min(48);
    let available = usize::from(size.columns).saturating_sub(gutter + 2);
    let per_line = (available / (width + 5)).max(1);
    let mut text = String::new();
    for (line, chunk) in names.chunks(per_line).enumerate() {
        text.push_str(&format!("{:gutter$}  ", ""));
        for (i, name) in chunk.iter().enumerate() {
            let index = line * per_line + i;
            let mark = coloured(&mark(index), index, size.has_colours);
            text.push_str(&format!("{mark} {:width$}   ", text::shorten(name, width)));
        }
        text.push('\n');
    }
    text
}

fn mark(group: usize) -> String {
    MARKS.chars().nth(group % MARKS.len()).map_or_else(String::new, String::from)
}

fn coloured(text: &str, group: usize, has_colours: bool) -> String {
    if !has_colours {
        return text.to_owned();
    }
    format!("\x1b[{}m{text}\x1b[0m", COLOURS[group % COLOURS.len()].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(curves: &[Curve], has_colours: bool) -> String {
        let labels = Labels { title: "loss".into(), x: "step".into(), y: "loss".into() };
        draw(curves, &labels, &Frame { is_log_y: false }, TerminalSize { columns: 60, rows: 10, has_colours })
    }

    fn curve(label: &str, f: impl Fn(f64) -> f64) -> Curve {
        Curve {
            label: label.into(),
            group: label.into(),
            points: (0..100).map(|x| (f64::from(x), f(f64::from(x)))).collect(),
        }
    }

    #[test]
    fn a_plot_has_title_axes_marks_and_legend() {
        let text = plot(&[curve("falls", |x| 1.0 / (1.0 + x)), curve("rises", |x| x / 99.0)], false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("loss"));
        assert!(text.contains("┤") && text.contains('└') && text.contains("step"), "{text}");
        assert!(text.contains("a falls") && text.contains("b rises"), "{text}");
        assert!(lines[1].ends_with(" b"), "{text}");
        assert!(lines[10].ends_with(" a"), "{text}");
        assert!(lines.iter().all(|line| line.chars().count() <= 60), "{text}");
        assert!(!text.contains('\x1b'));
        assert!(text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
    }

    #[test]
    fn colours_are_switched_off_again() {
        let text = plot(&[curve("a", |x| x), curve("b", |x| -x)], true);
        let open = text.matches("\x1b[").count();
        assert!(open > 0 && text.lines().all(|line| !line.contains('\x1b') || line.contains("\x1b[0m")), "{text}");
    }

    #[test]
    fn one_point_and_no_point() {
        let point = Curve { label: "p".into(), group: "p".into(), points: vec![(5.0, 2.0)] };
        assert!(plot(&[point], false).chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)));
        assert_eq!(plot(&[Curve { label: "e".into(), group: "e".into(), points: Vec::new() }], false), "");
    }
}
