//! Prometheus' metrics, in the OpenMetrics text that it asks for
//! (<https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>).

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::access::View;
use crate::outcome::{Figure, Measure, Outcome, Report, Status};

/// What [`body`] is, for the header.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is said of every check, beside its figures: the name, the labels, and what it is.
pub const VERDICTS: [(&str, &[&str], &str); 3] = [
    ("cache_up", &["alias"], "Whether the check passed, if only as degraded."),
    ("cache_status", &["alias", "status"], "What the check came to: 1 for one status, 0 for the others."),
    ("cache_node_up", &["alias", "node"], "Whether the node did what it was asked."),
];

/// The report as metrics. A check of another kind than the round trip has its own name for the label `alias`, such as
/// `main.queue`, so that each series of an alias is one. What names nodes, keys or views is only for one who may see
/// details.
#[must_use]
pub fn body(report: &Report, view: View) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Latest { outcomes: report.outcomes.clone(), view }));
    let mut text = String::new();
    // A text takes all that is written to it.
    let _ = encode(&mut text, &registry);
    text
}

#[derive(Debug)]
struct Latest {
    outcomes: Vec<Arc<Outcome>>,
    view: View,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Latest {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let entries: Vec<_> = self.outcomes.iter().map(|outcome| (outcome.entry(), &**outcome)).collect();
        let [up, status, node_up] = VERDICTS;
        let mut up = gauge(&mut encoder, up)?;
        for (entry, outcome) in &entries {
            let is_up = outcome.status() < Status::Down;
            up.encode_family(&vec![("alias", entry.as_str())])?.encode_gauge(&u32::from(is_up))?;
        }
        let mut status = gauge(&mut encoder, status)?;
        for (entry, outcome) in &entries {
            for (name, one) in [("up", Status::Up), ("degraded", Status::Degraded), ("down", Status::Down)] {
                let labels: Labels<'_> = vec![("alias", entry), ("status", name)];
                status.encode_family(&labels)?.encode_gauge(&u32::from(outcome.status() == one))?;
            }
        }
        if self.view == View::Verdicts {
            return Ok(());
        }
        let mut node_up = gauge(&mut encoder, node_up)?;
        for (entry, outcome) in &entries {
            for node in &outcome.nodes {
                let labels: Labels<'_> = vec![("alias", entry), ("node", &node.node)];
                node_up.encode_family(&labels)?.encode_gauge(&u32::from(node.fault.is_none()))?;
            }
        }
        for &figure in Figure::ALL {
            encode_figure(figure, &entries, &mut encoder)?;
        }
        Ok(())
    }
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    (name, _, help): (&'static str, &[&str], &str),
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn encode_figure(
    figure: Figure,
    entries: &[(String, &Outcome)],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let measured = |measure: &&Measure| measure.figure == figure;
    if !entries.iter().any(|(_, outcome)| outcome.measures().iter().any(|measure| measured(&measure))) {
        return Ok(());
    }
    // The encoder adds a counter's ending itself.
    let name = figure.name().trim_end_matches("_total");
    let kind = if figure.is_counter() { MetricType::Counter } else { MetricType::Gauge };
    let mut family = encoder.encode_descriptor(name, figure.help(), None, kind)?;
    for (entry, outcome) in entries {
        for Measure { of, value, .. } in outcome.measures().iter().filter(measured) {
            let of = of.iter().map(|of| (figure.label(), &**of));
            let labels: Labels<'_> = std::iter::once(("alias", entry.as_str())).chain(of).collect();
            let mut one = family.encode_family(&labels)?;
            if figure.is_counter() {
                one.encode_counter::<NoLabelSet, _, f64>(value, None)?;
            } else {
                one.encode_gauge(value)?;
            }
        }
    }
    Ok(())
}
