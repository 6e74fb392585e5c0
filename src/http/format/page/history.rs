//! The last hour of an entry: a strip of its statuses, and a line of its durations.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};
use tokio::time::Instant;

use super::say;
use crate::outcome::Status;
use crate::record::{Hour, Minute};

/// A strip of the last hour, the present at its right. The worse a minute, the taller and the redder. [`words`] gives
/// the same in words.
pub(super) fn strip(hour: &Hour, now: Instant) -> Markup {
    let mut drawn = String::new();
    let mut x = 0;
    for (status, length) in runs(hour, now) {
        if let Some(status) = status {
            let y = match status {
                Status::Skipped | Status::Up => 6,
                Status::Degraded => 3,
                Status::Down => 0,
            };
            // A `String` accepts all text.
            let _ = write!(drawn, r#"<path class="{}" d="M{x} {y}h{length}V10H{x}z"/>"#, status.word());
        }
        x += length;
    }
    html! {
        @if !hour.is_empty() {
            svg .strip aria-hidden="true" viewBox="0 0 60 10" preserveAspectRatio="none" { (PreEscaped(drawn)) }
            (axis("last hour"))
        }
    }
}

/// The labels of the hour below a drawing.
fn axis(what: &str) -> Markup {
    html! { p .axis aria-hidden="true" { i { "1 h ago" } i { (what) } i { "now" } } }
}

/// The statuses of the hour, each with its number of minutes, in order.
fn runs(hour: &Hour, now: Instant) -> Vec<(Option<Status>, usize)> {
    let mut runs: Vec<(Option<Status>, usize)> = Vec::new();
    for minute in hour.minutes(now) {
        let status = minute.map(|minute| minute.worst);
        match runs.last_mut() {
            Some((last, length)) if *last == status => *length += 1,
            _ => runs.push((status, 1)),
        }
    }
    runs
}

/// The last hour in words: `Last hour: down in 4 minutes, up in 50, no check in 6.`
pub(super) fn words(hour: &Hour, now: Instant) -> String {
    let of = |wanted: Option<Status>| {
        hour.minutes(now).filter(|minute| minute.map(|minute| minute.worst) == wanted).count()
    };
    let statuses =
        [Status::Down, Status::Degraded, Status::Up].map(|status| (status.word(), of(Some(status))));
    let parts = statuses.into_iter().chain([("no check", of(None))]).filter(|(_, minutes)| *minutes > 0);
    let parts: Vec<_> = parts.map(|(what, minutes)| format!("{what} in {minutes} min")).collect();
    format!("Last hour: {}.", parts.join(", "))
}

/// A line of the slowest check of each minute, with their minimum and maximum; nothing if there is only one.
pub(super) fn latency(hour: &Hour, now: Instant) -> Markup {
    const HEIGHT: f64 = 20.0;
    let minutes: Vec<_> = hour.minutes(now).map(|minute| minute.map(Minute::slowest)).collect();
    let slowest = || minutes.iter().flatten();
    let (Some(least), Some(most)) = (slowest().min(), slowest().max()) else { return html! {} };
    // The scale begins at zero, so that only real changes of the duration show.
    let scale = HEIGHT / most.as_secs_f64().max(1e-6);
    let mut path = String::new();
    let mut is_drawing = false;
    for (x, minute) in minutes.iter().enumerate() {
        if let Some(slowest) = minute {
            let y = HEIGHT - slowest.as_secs_f64() * scale;
            // A `String` accepts all text; and a minute between gaps is a dot.
            let _ = if is_drawing { write!(path, "L{x} {y:.1}") } else { write!(path, "M{x} {y:.1}h.1") };
        }
        is_drawing = minute.is_some();
    }
    html! {
        @if slowest().count() > 1 {
            p .quiet { "The slowest check of each minute took " (say::took(*least)) " to " (say::took(*most)) ":" }
            div .plot aria-hidden="true" {
                svg .spark viewBox="0 0 59 20" preserveAspectRatio="none" { path d=(path) {} }
                p .scale { i { (say::took(*most)) } i { "0" } }
                (axis(""))
            }
        }
    }
}
