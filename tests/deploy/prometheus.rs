//! The files for Prometheus: the alerts, each with what brings it about; the example of a scrape; and the dashboard,
//! whose every query is asked of a real Prometheus that scraped a real sidecar through an outage.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "every figure is a float, and what is counted is few"
)]

mod alerts;
mod dashboard;
mod scrape;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cache_canary::http::metrics::{Family, Type};
use cache_canary::outcome::Figure;

/// A file of those that come with the program.
fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

/// The names of all series that there are.
fn names() -> BTreeSet<String> {
    let families = Family::ALL.iter().flat_map(|family| match family.kind() {
        Type::Gauge | Type::Counter | Type::Info => vec![family.name().to_owned()],
        Type::Histogram => {
            ["bucket", "sum", "count"].map(|ending| format!("{}_{ending}", family.name())).into()
        }
    });
    families.chain(Figure::ALL.iter().map(|figure| figure.name().to_owned())).collect()
}

/// The words in a text that look like the name of one of our series.
fn mentioned(text: &str) -> BTreeSet<String> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let ours = words.filter(|word| word.starts_with("cache_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

#[test]
fn no_alert_and_no_panel_asks_for_an_unknown_series() {
    for file in ["prometheus/alerts.yaml", "prometheus/alerts_test.yaml", "grafana/cache-canary.json"] {
        let text = std::fs::read_to_string(deployed(file)).unwrap();
        let (mentioned, names) = (mentioned(&text), names());
        let unknown: Vec<_> = mentioned.difference(&names).collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
        assert!(mentioned.contains("cache_up"), "{file} mentions some");
    }
}
