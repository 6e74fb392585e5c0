//! [`Life`]: the sidecar's life cycle.

named! {
    /// The life cycle of the sidecar.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Life {
        /// It does not take requests yet.
        Starting = "starting",
        /// It takes requests.
        Ready = "ready",
        /// It was told to stop, and goes on taking requests until the callers have noticed.
        Draining = "draining",
        /// It takes no more requests, and finishes those that are open.
        Stopping = "stopping",
    }
}
