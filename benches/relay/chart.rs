//! The picture: for each cell two bars, Perennial's cost divided by nginx's and by HAProxy's, and a line at 1.
//!
//! The axis is linear and ends at [`END`]; a longer bar is cut off there, and its number tells how long it is.
//! The colours follow the reader's scheme, light or dark, with a background of their own in either.

use super::{
    options::Program,
    report::{Report, Row},
    spread::ratio,
};

/// Where the axis ends.
const END: f64 = 2.0;
const WIDTH: f64 = 860.0;
/// Where the bars begin, and where the axis ends.
const LEFT: f64 = 250.0;
const RIGHT: f64 = 800.0;
/// Height of the title and the legend, of a heading, of a row with two bars, of the foot.
const TOP: f64 = 78.0;
const HEADING: f64 = 26.0;
const ROW: f64 = 28.0;
const FOOT: f64 = 30.0;
const BAR: f64 = 10.0;

const STYLE: &str = "
  text { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; fill: #1f2328 }
  .title { font-size: 15px; font-weight: 600 }
  .heading { font-weight: 600 }
  .small { font-size: 11px; fill: #59636e; stroke: #ffffff; stroke-width: 2px; paint-order: stroke }
  .paper { fill: #ffffff }
  .grid { stroke: #d1d9e0 }
  .one { stroke: #1f2328; stroke-width: 1.5 }
  .nginx { fill: #1a7f37 }
  .haproxy { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #9198a1; stroke: #0d1117 }
    .paper { fill: #0d1117 }
    .grid { stroke: #3d444d }
    .one { stroke: #e6edf3 }
    .nginx { fill: #3fb950 }
    .haproxy { fill: #58a6ff }
  }
";

/// The picture of a report, as SVG.
pub(crate) fn draw(report: &Report) -> String {
    let (mut bars, mut words) = (String::new(), String::new());
    let mut y = TOP;
    for rows in report.tables() {
        let Some(first) = rows.first() else { continue };
        y += HEADING;
        words += &text(16.0, y - 8.0, "heading", "start", first.heading.name);
        for row in rows {
            let (two, numbers) = draw_row(row, y);
            bars += &two;
            words += &numbers;
            y += ROW;
        }
    }
    let height = y + FOOT;
    let line = |at: f64, class: &str| {
        let x = x(at);
        format!("<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{TOP:.1}\" x2=\"{x:.1}\" y2=\"{y:.1}\"/>\n")
    };
    let marks = [0.0, 0.5, 1.0, 1.5, END];
    let scale = marks.map(|at| {
        let number = format!("{at:.1}");
        [TOP - 6.0, y + 16.0].map(|y| text(x(at), y, "small", "middle", &number)).concat()
    });
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"title\">\n\
         <title id=\"title\">What Perennial costs, divided by what nginx and HAProxy cost</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
         {}{}{}{bars}{}{}{words}</svg>\n",
        text(16.0, 28.0, "title", "start", "What Perennial costs, divided by what the other costs"),
        legend(),
        marks.map(|at| line(at, "grid")).concat(),
        line(1.0, "one"),
        scale.concat(),
    )
}

fn legend() -> String {
    let mut legend = String::new();
    let entries = [(16.0, Program::Nginx, "of nginx"), (110.0, Program::Haproxy, "of HAProxy")];
    for (at, program, name) in entries {
        let class = class(program);
        legend +=
            &format!("<rect class=\"{class}\" x=\"{at}\" y=\"42\" width=\"{BAR}\" height=\"{BAR}\"/>\n");
        legend += &text(at + 16.0, 51.0, "", "start", name);
    }
    legend + &text(LEFT, 51.0, "small", "start", "left of the line at 1.0, Perennial is cheaper")
}

/// A bar for each ratio of a row; and the words of the row, which stand over all lines: its name, the numbers.
fn draw_row(row: &Row, y: f64) -> (String, String) {
    let mut bars = String::new();
    let mut words = text(LEFT - 10.0, y + 14.0, "", "end", &row.cell);
    for (at, (program, over)) in row.ratios().into_iter().enumerate() {
        let top = y + at as f64 * (BAR + 1.0);
        let (end, number) = match over.median {
            none if !none.is_finite() => (0.0, "–".to_owned()),
            long if long > END => (END, format!("{} →", ratio(long))),
            fits => (fits, ratio(fits)),
        };
        let (width, class) = (x(end) - LEFT, class(program));
        bars += &format!("<rect class=\"{class}\" x=\"{LEFT}\" y=\"{top:.1}\" ");
        bars += &format!("width=\"{width:.1}\" height=\"{BAR}\"/>\n");
        words += &text(x(end) + 4.0, top + BAR - 1.0, "small", "start", &number);
    }
    (bars, words)
}

fn class(program: Program) -> &'static str {
    match program {
        Program::Nginx => "nginx",
        Program::Haproxy | Program::Before | Program::Perennial => "haproxy",
    }
}

/// Where a ratio is on the axis.
fn x(ratio: f64) -> f64 {
    LEFT + (RIGHT - LEFT) * ratio / END
}

fn text(x: f64, y: f64, class: &str, anchor: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>\n")
}
