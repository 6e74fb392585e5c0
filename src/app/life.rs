//! [`Life`]: where in its life the sidecar is.

/// The life cycle of the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Life {
    /// It does not take requests yet.
    Starting,
    /// It takes requests.
    Ready,
    /// It was told to stop, and goes on taking requests until those who send them have heard of it.
    Draining,
    /// It takes no more requests, and finishes those that are open.
    Stopping,
}

impl Life {
    /// The stable name, as in JSON and Kubernetes' text.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}
