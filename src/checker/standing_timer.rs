//! [`StandingTimer`]: stands before the timers of the checks, so that to arm these costs no system call.
//!
//! The runtime sleeps until its first timer is due. A task that arms an earlier one makes it look again, by a write to
//! an eventfd and an event more. Without this one that would be each check: its deadline is the first timer there is.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::mutex::Mutex;

/// A timer that no task waits for. Each check puts it off, which the runtime finds out at the old due time: it is woken
/// once a deadline, however many checks there are. Between requests that are rare it is not armed at all.
#[derive(Default)]
pub(super) struct StandingTimer(Mutex<TimerState>);

#[derive(Default)]
struct TimerState {
    /// The arrival of the last request with a check, and the deadline of its checks.
    last: Option<(Instant, Instant)>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl StandingTimer {
    /// A check begins for a request that arrived at `arrived`, and is to end at `deadline`.
    pub(super) fn begin(&self, arrived: Instant, deadline: Instant) {
        let mut state = self.0.lock();
        let last = state.last.replace((arrived, deadline));
        // The checks of one request say nothing about the time until the next one.
        if !last.is_some_and(|(earlier, end)| earlier < arrived && arrived < end) {
            return;
        }
        let timer = state.timer.get_or_insert_with(|| Box::pin(sleep_until(arrived)));
        if timer.deadline() < deadline {
            timer.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, sleep};

    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(750);

    /// The time at which the timer is due after checks that began so long after one another, if it is armed.
    async fn due_after(timer: &StandingTimer, between: Duration) -> Option<Instant> {
        for _ in 0..3 {
            advance(between).await;
            // Two aliases.
            timer.begin(Instant::now(), Instant::now() + TIMEOUT);
            timer.begin(Instant::now(), Instant::now() + TIMEOUT);
        }
        timer.0.lock().timer.as_ref().filter(|timer| !timer.is_elapsed()).map(|timer| timer.deadline())
    }

    #[tokio::test(start_paused = true)]
    async fn it_stands_before_checks_that_come_often_and_is_not_armed_between_rare_ones() {
        let timer = StandingTimer::default();
        assert_eq!(due_after(&timer, Duration::from_secs(10)).await, None);
        let due = due_after(&timer, Duration::from_millis(10)).await;
        assert_eq!(due, Some(Instant::now() + TIMEOUT));
        sleep(TIMEOUT * 2).await;
        assert_eq!(due_after(&timer, Duration::from_secs(10)).await, None, "and it goes when they end");
    }
}
