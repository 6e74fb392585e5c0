//! [`MetricsFormat`]: the text format of metrics.

use axum::http::HeaderMap;
use mediatype::MediaType;

use crate::http::accept;

/// A text of metrics that Prometheus reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFormat {
    /// The classic format, which every scraper reads
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
    Text,
    /// The standard that was made of the classic format
    /// (<https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>).
    OpenMetrics,
}

impl MetricsFormat {
    /// The value of the `Content-Type` header.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that `Accept` prefers: the classic text, unless `OpenMetrics` 1.0.0 has a higher weight, as with
    /// Prometheus. Drafts before 1.0.0 are other formats and do not count.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let offers = [Self::Text, Self::OpenMetrics].into_iter();
        let offers =
            offers.filter_map(|format| Some((format, MediaType::parse(format.content_type()).ok()?)));
        accept::preferred(headers, offers).unwrap_or(Self::Text)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::header;

    use super::*;

    fn format(accept: &str) -> MetricsFormat {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        MetricsFormat::of(&headers)
    }

    #[test]
    fn prometheus_gets_openmetrics() {
        for accept in [
            // 2.42, and 3.
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8",
            "text/plain;q=0.9, application/openmetrics-text",
            "*/*, application/openmetrics-text",
        ] {
            assert_eq!(format(accept), MetricsFormat::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn a_request_without_openmetrics_gets_the_classic_text() {
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/plain, application/openmetrics-text",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            // Prometheus 3, configured to prefer it.
            "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.2",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=0.0.1",
            "application/json",
        ] {
            assert_eq!(format(accept), MetricsFormat::Text, "{accept}");
        }
        assert_eq!(MetricsFormat::of(&HeaderMap::new()), MetricsFormat::Text);
    }
}
