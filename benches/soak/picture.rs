//! The figures against time, as an SVG that fits a light page and a dark one.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use maud::{Markup, html};

use crate::figures::{Moment, Watched};
use crate::scene::Fault;

const COLUMNS: usize = 2;

/// The size of a panel, and of the plot in it, in pixels.
const PANEL: (f64, f64) = (380.0, 150.0);
const PLOT: (f64, f64) = (320.0, 90.0);
/// The left upper corner of the plot in its panel.
const CORNER: (f64, f64) = (44.0, 28.0);

const STYLE: &str = "svg { font: 11px system-ui, sans-serif; --text: #333; --grid: #d8d8d8; --line: #0b6e99; --fault: #d9480f; }
@media (prefers-color-scheme: dark) { svg { --text: #ccc; --grid: #444; --line: #5cc8f2; --fault: #ff922b; } }
text { fill: var(--text); }
.name { font-weight: 600; }
.left { text-anchor: end; }
.below { text-anchor: middle; }
.below:last-of-type { text-anchor: end; }
.grid { stroke: var(--grid); }
.line { fill: none; stroke: var(--line); stroke-width: 1.5; stroke-linejoin: round; }
.fault { fill: var(--fault); }";

/// A figure over the time.
struct Curve {
    name: &'static str,
    points: Vec<(Duration, f64)>,
}

/// Draws every figure over the time since `began`, with the faults below each.
pub(crate) fn draw(began: Instant, moments: &[Moment], faults: &[Fault]) -> String {
    let end = moments.last().expect("a moment").after;
    let curves = curves(moments);
    let rows = curves.len().div_ceil(COLUMNS);
    let (width, height) = (PANEL.0 * COLUMNS as f64, PANEL.1 * rows as f64);
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width} {height}")) role="img" {
            title { "Figures of a soak over time; marks below each panel are faults." }
            style { (STYLE) }
            defs {
                g id="faults" {
                    @for fault in faults {
                        @let from = along(fault.began.duration_since(began), end);
                        @let to = along(fault.ended.duration_since(began), end);
                        rect.fault x=(pixels(from)) y=(PLOT.1 + 2.0) width=(pixels((to - from).max(0.5))) height="4" {}
                    }
                }
            }
            @for (place, curve) in curves.iter().enumerate() {
                @let (x, y) = ((place % COLUMNS) as f64 * PANEL.0 + CORNER.0, (place / COLUMNS) as f64 * PANEL.1 + CORNER.1);
                g transform=(format!("translate({x} {y})")) {
                    (panel(curve, end))
                    use href="#faults" {}
                }
            }
        }
    };
    svg.into_string() + "\n"
}

/// The figures that may not grow, and the checks of a second.
fn curves(moments: &[Moment]) -> Vec<Curve> {
    let watched = Watched::ALL.map(|watched| Curve {
        name: watched.name(),
        points: moments.iter().map(|moment| (moment.after, watched.of(moment))).collect(),
    });
    let rates = moments.windows(2).map(|pair| {
        let time = pair[1].after.saturating_sub(pair[0].after);
        (pair[1].after, (pair[1].checks - pair[0].checks) as f64 / time.as_secs_f64())
    });
    watched.into_iter().chain([Curve { name: "checks a second", points: rates.collect() }]).collect()
}

fn panel(curve: &Curve, end: Duration) -> Markup {
    let most = curve.points.iter().map(|point| point.1).fold(1.0, f64::max);
    let top = round_number_above(most);
    let high = |value: f64| PLOT.1 * (1.0 - value / top);
    let mut line = String::new();
    for (after, value) in &curve.points {
        let _ = write!(line, "{},{} ", pixels(along(*after, end)), pixels(high(*value)));
    }
    html! {
        text.name x="0" y="-12" { (curve.name) }
        @for value in [0.0, top / 2.0, top] {
            line.grid x1="0" x2=(PLOT.0) y1=(pixels(high(value))) y2=(pixels(high(value))) {}
            text.left x="-6" y=(pixels(high(value) + 4.0)) { (value) }
        }
        @for part in [0.0, 0.5, 1.0] {
            text.below x=(PLOT.0 * part) y=(PLOT.1 + 18.0) { (time(end.mul_f64(part))) }
        }
        polyline.line points=(line.trim_end()) {}
    }
}

/// The place of a time on the horizontal axis.
fn along(after: Duration, end: Duration) -> f64 {
    PLOT.0 * (after.as_secs_f64() / end.as_secs_f64()).min(1.0)
}

/// A place, as precise as it can be seen.
fn pixels(place: f64) -> String {
    format!("{place:.1}")
}

fn time(after: Duration) -> String {
    if after < Duration::from_mins(3) {
        format!("{:.0} s", after.as_secs_f64())
    } else {
        format!("{:.0} min", after.as_secs_f64() / 60.0)
    }
}

/// The least of 1, 2, 4, 6, 10, 20, 40 and so on that is no less than `value`.
fn round_number_above(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 6.0, 10.0]
        .into_iter()
        .map(|step| step * unit)
        .find(|&step| step >= value)
        .unwrap_or(10.0 * unit)
}
