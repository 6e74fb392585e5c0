//! [`Exposition`]: metrics on their way to the library that writes them, in either of the two formats.
//!
//! The library knows `OpenMetrics` alone. The classic text has the same series, but declares some by another name or type:
//! see [`Heading::declared`]. Counters and infos are written to it as gauges are, which have no ending of their own.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

use super::family::{Family, Type};
use super::format::MetricsFormat;
use crate::outcome::Figure;
use crate::record::Tally;

/// The labels of a series: names that are ours, and values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

/// The text of metrics as it grows.
pub(super) struct Exposition<'a> {
    encoder: DescriptorEncoder<'a>,
    format: MetricsFormat,
}

/// The common head of the series of one name.
pub(super) struct Heading {
    name: &'static str,
    kind: Type,
    help: &'static str,
}

/// The series of one name, which are written together.
pub(super) struct MetricSeries<'a, 'b> {
    heading: Heading,
    format: MetricsFormat,
    /// The encoder that declares them; taken once the first series is there.
    undeclared: Option<&'a mut DescriptorEncoder<'b>>,
    /// The encoder of the series from then on.
    declared: Option<MetricEncoder<'a>>,
}

impl From<Family> for Heading {
    fn from(family: Family) -> Self {
        Self { name: family.name(), kind: family.kind(), help: family.help() }
    }
}

impl From<Figure> for Heading {
    fn from(figure: Figure) -> Self {
        let kind = if figure.is_counter() { Type::Counter } else { Type::Gauge };
        Self { name: figure.name(), kind, help: figure.help() }
    }
}

impl Heading {
    /// The name and the type that the series are declared with. The standard declares counters and infos without their
    /// ending, which the library writes to each series, and the classic text with it; there an info is a gauge.
    fn declared(&self, format: MetricsFormat) -> (&'static str, MetricType) {
        let name = self.name;
        match (format, self.kind) {
            (MetricsFormat::OpenMetrics, Type::Counter) => {
                (name.trim_end_matches("_total"), MetricType::Counter)
            }
            (MetricsFormat::OpenMetrics, Type::Info) => (name.trim_end_matches("_info"), MetricType::Info),
            (MetricsFormat::Text, Type::Counter) => (name, MetricType::Counter),
            (MetricsFormat::Text, Type::Info)
            | (MetricsFormat::OpenMetrics | MetricsFormat::Text, Type::Gauge) => (name, MetricType::Gauge),
            (MetricsFormat::OpenMetrics | MetricsFormat::Text, Type::Histogram) => {
                (name, MetricType::Histogram)
            }
        }
    }
}

impl<'b> Exposition<'b> {
    pub(super) fn new(encoder: DescriptorEncoder<'b>, format: MetricsFormat) -> Self {
        Self { encoder, format }
    }

    /// Begins the series of a name. A name without series is not declared.
    pub(super) fn series(&mut self, of: impl Into<Heading>) -> MetricSeries<'_, 'b> {
        let undeclared = Some(&mut self.encoder);
        MetricSeries { heading: of.into(), format: self.format, undeclared, declared: None }
    }
}

impl<'a> MetricSeries<'a, '_> {
    /// Writes one series.
    pub(super) fn put<N>(&mut self, labels: Labels<'_>, value: N) -> fmt::Result
    where
        N: EncodeGaugeValue + EncodeCounterValue + Copy,
    {
        let (format, kind) = (self.format, self.heading.kind);
        let all = self.declare()?;
        match (format, kind) {
            (MetricsFormat::OpenMetrics, Type::Info) => all.encode_info(&labels),
            (MetricsFormat::OpenMetrics, Type::Counter) => {
                labeled(all, labels, |one| one.encode_counter::<NoLabelSet, _, f64>(&value, None))
            }
            (MetricsFormat::Text, Type::Info | Type::Counter)
            | (MetricsFormat::OpenMetrics | MetricsFormat::Text, Type::Gauge | Type::Histogram) => {
                labeled(all, labels, |one| one.encode_gauge(&value))
            }
        }
    }

    /// Writes the durations of the checks of a tally.
    pub(super) fn put_durations(&mut self, labels: Labels<'_>, tally: &Tally) -> fmt::Result {
        let seconds = |bound: Option<Duration>| bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64());
        let buckets: Vec<_> = tally.took().map(|(bound, times)| (seconds(bound), times)).collect();
        let count = buckets.iter().map(|(_, times)| times).sum();
        let time = tally.time().as_secs_f64();
        labeled(self.declare()?, labels, |one| {
            one.encode_histogram::<NoLabelSet>(time, count, &buckets, None)
        })
    }

    fn declare(&mut self) -> Result<&mut MetricEncoder<'a>, fmt::Error> {
        if let Some(encoder) = self.undeclared.take() {
            let (name, kind) = self.heading.declared(self.format);
            self.declared = Some(encoder.encode_descriptor(name, self.heading.help, None, kind)?);
        }
        // After an error there is none, and the whole text has ended.
        self.declared.as_mut().ok_or(fmt::Error)
    }
}

/// Writes one of the series of a name. Without labels it has no braces either.
fn labeled(
    all: &mut MetricEncoder<'_>,
    labels: Labels<'_>,
    write: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
) -> fmt::Result {
    if labels.is_empty() { write(all) } else { write(&mut all.encode_family(&labels)?) }
}
