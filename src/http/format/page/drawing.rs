//! Drawings of the page: shapes for statuses, and the phases of a check as a bar. Inline, so that nothing is loaded.

use std::fmt::Write as _;
use std::time::Duration;

use maud::{Markup, PreEscaped, html};

use super::say;
use crate::outcome::{Fault, NodeOutcome, Phase, Status};

/// The shapes, once per page; [`glyph`] uses them.
pub(super) const GLYPHS: PreEscaped<&str> = PreEscaped(concat!(
    r#"<svg width="0" height="0" aria-hidden="true">"#,
    r#"<symbol id="up" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8"/><path class="cut" d="M4.4 8.3l2.5 2.5 4.7-5.1"/></symbol>"#,
    r#"<symbol id="degraded" viewBox="0 0 16 16"><path d="M8 .6 16 15.4H0z"/><path class="cut" d="M8 6v4M8 12.6v.1"/></symbol>"#,
    r#"<symbol id="down" viewBox="0 0 16 16"><path d="M4.7 0h6.6L16 4.7v6.6L11.3 16H4.7L0 11.3V4.7z"/><path class="cut" d="M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6"/></symbol>"#,
    r#"<symbol id="skipped" viewBox="0 0 16 16"><circle cx="8" cy="8" r="8"/><path class="cut" d="M4.7 8h6.6"/></symbol>"#,
    "</svg>"
));

/// The shape of a status. The word stands beside it, so a screen reader skips it.
pub(super) fn glyph(status: Status) -> Markup {
    html! { svg .glyph aria-hidden="true" { use href={ "#" (status.word()) } {} } }
}

/// The shape of a status as the icon of a tab.
pub(super) fn favicon(status: Status) -> String {
    let (color, shape, cut) = match status {
        Status::Skipped => ("4d535c", "M0 8a8 8 0 0 1 16 0A8 8 0 0 1 0 8z", "M4.7 8h6.6"),
        Status::Up => ("14713f", "M0 8a8 8 0 0 1 16 0A8 8 0 0 1 0 8z", "M4.4 8.3l2.5 2.5 4.7-5.1"),
        Status::Degraded => ("c27a00", "M8 .6 16 15.4H0z", "M8 6v4M8 12.6v.1"),
        Status::Down => {
            ("c4222a", "M4.7 0h6.6L16 4.7v6.6L11.3 16H4.7L0 11.3V4.7z", "M5.2 5.2l5.6 5.6M10.8 5.2l-5.6 5.6")
        }
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
         %3Cpath fill='%23{color}' d='{shape}'/%3E\
         %3Cpath fill='none' stroke='%23fff' stroke-width='2.2' stroke-linecap='round' d='{cut}'/%3E%3C/svg%3E"
    )
}

/// The duration of each phase of a node, as a bar with a legend: the words are there for every reader.
pub(super) fn phases(node: &NodeOutcome) -> Markup {
    /// The least width of a phase, so that a very short one can be seen.
    const LEAST: f64 = 0.6;
    let whole: Duration = node.phases.iter().map(|(_, time)| time).sum();
    let stuck = node.fault.as_ref().map(|Fault { phase, .. }| *phase);
    let class =
        |phase: Phase| if stuck == Some(phase) { "stuck".to_owned() } else { format!("p{}", phase as usize) };
    let mut x = 0.0;
    let mut bar = String::new();
    for (phase, time) in node.phases.iter() {
        let width = (time.as_secs_f64() / whole.as_secs_f64().max(1e-9) * 100.0).max(LEAST);
        // A `String` accepts all text.
        let _ = write!(bar, r#"<path class="{}" d="M{x:.1} 0h{width:.1}v8H{x:.1}z"/>"#, class(phase));
        x += width;
    }
    html! {
        @if x > 0.0 {
            svg .bar aria-hidden="true" viewBox={ "0 0 " (format!("{x:.1}")) " 8" } preserveAspectRatio="none" {
                (PreEscaped(bar))
            }
            ul .legend .quiet {
                @for (phase, time) in node.phases.iter() {
                    li {
                        i class=(class(phase)) {}
                        (phase) " " (say::took(time))
                        @if stuck == Some(phase) { ", where it failed" }
                    }
                }
            }
        }
    }
}
