//! The number of events on the kept connections of all caches: one counter, which is read in place of thousands of
//! connections.
//!
//! A connection that is asked whether it is quiet registers the counter's waker with the runtime. While the count
//! stays the same, a connection that was quiet is still quiet.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::task::{Wake, Waker};

use crate::sync::Counter;

static ACTIVITY: Counter = Counter::new(0);

static WAKER: LazyLock<Waker> = LazyLock::new(|| Waker::from(Arc::new(ActivityWaker)));

struct ActivityWaker;

impl Wake for ActivityWaker {
    fn wake(self: Arc<Self>) {
        note();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        note();
    }
}

/// The number of events so far.
pub(crate) fn count() -> u64 {
    ACTIVITY.load(Ordering::SeqCst)
}

/// Counts an event. A caller that relies on the count has to look again.
pub(crate) fn note() {
    ACTIVITY.fetch_add(1, Ordering::SeqCst);
}

/// The waker that counts an event when it is woken.
pub(super) fn waker() -> &'static Waker {
    &WAKER
}
