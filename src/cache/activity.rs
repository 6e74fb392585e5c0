//! Whether anything has happened on a kept connection, of whichever cache: one counter, which is looked at in the
//! place of thousands of connections.
//!
//! A connection that is asked whether it is quiet leaves the counter with the runtime as who is to be woken. For as
//! long as the count stays the same, what was quiet then is quiet now.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Wake, Waker};

static ACTIVITY: AtomicU64 = AtomicU64::new(0);

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

/// How often something has happened.
pub(crate) fn count() -> u64 {
    ACTIVITY.load(Ordering::SeqCst)
}

/// Something has happened: whoever relies on the count has to look again.
pub(crate) fn note() {
    ACTIVITY.fetch_add(1, Ordering::SeqCst);
}

/// What counts when it is woken.
pub(super) fn waker() -> &'static Waker {
    &WAKER
}
