//! [`join_all`] and [`Turns`]: many futures that run together and are begun a few at a time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::budget;

/// The number of futures that are begun at a time: enough that neither side waits for the other, in little memory.
const AT_A_TIME: usize = 128;

/// The number of futures that begin before the task yields to other checks. To begin is to dial, which takes tens of
/// microseconds.
const A_TURN: usize = 8;

/// The outputs of `count` futures, in order; `begin` makes each by its number.
///
/// A future that waits for an answer needs memory. Healthy servers answer as fast as they are asked, so few futures wait
/// at a time. If thousands of servers were asked before the first answer is taken, all of the futures would wait. Servers
/// that hang delay the others by `max_wait` at most, however many hang.
pub(crate) async fn join_all<F: Future>(
    count: usize,
    mut max_wait: Duration,
    begin: impl Fn(usize) -> F,
) -> Vec<F::Output> {
    if count == 1 {
        return vec![Box::pin(begin(0)).await];
    }
    if count <= AT_A_TIME {
        return future::join_all((0..count).map(begin)).await;
    }
    let mut outputs: Vec<_> = std::iter::repeat_with(|| None).take(count).collect();
    let mut running = FuturesUnordered::new();
    let turns = Turns::of(count);
    for number in 0..count {
        let future = turns.clone().wait_for(begin(number));
        running.push(async move { (number, future.await) });
        if (number + 1) % AT_A_TIME == 0 {
            let most_are_answered = async {
                let waiting = running.len().saturating_sub(AT_A_TIME / 2);
                for _ in 0..waiting.min(AT_A_TIME) {
                    if let Some((number, output)) = running.next().await {
                        outputs[number] = Some(output);
                    }
                }
            };
            let part = budget::LAST_BEGUN.of(max_wait);
            if timeout(part, most_are_answered).await.is_err() {
                max_wait -= part;
            }
        }
    }
    while let Some((number, output)) = running.next().await {
        outputs[number] = Some(output);
    }
    outputs.into_iter().flatten().collect()
}

/// The turns in which many futures begin.
#[derive(Clone)]
pub(crate) struct Turns(Option<Arc<Semaphore>>);

impl Turns {
    /// The turns of `count` futures; a few need none.
    pub(crate) fn of(count: usize) -> Self {
        Self((count > A_TURN).then(|| Arc::new(Semaphore::new(A_TURN))))
    }

    /// Runs `work`, which begins in its turn.
    pub(crate) async fn wait_for<F: Future>(self, work: F) -> F::Output {
        let Some(turns) = self.0 else { return work.await };
        let turn = turns.acquire().await;
        let others = async {
            yield_now().await;
            drop(turn);
        };
        future::join(work, others).await.0
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use tokio::task::yield_now;
    use tokio::time::{Instant, sleep};

    use super::*;

    const MAX_WAIT: Duration = Duration::from_millis(80);

    #[tokio::test(start_paused = true)]
    async fn each_result_has_its_place_whenever_it_ends() {
        let began = Instant::now();
        let outputs = join_all(1000, MAX_WAIT, |number| async move {
            sleep(Duration::from_micros(1_000_000 - number as u64)).await;
            number
        });
        assert_eq!(outputs.await, (0..1000).collect::<Vec<_>>());
        assert!(began.elapsed() < Duration::from_millis(1100), "together");
        assert!(join_all(0, MAX_WAIT, std::future::ready).await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_immediate_answer_does_not_wait_for_all_to_begin() {
        let (waiting, most) = (Cell::new(0_usize), Cell::new(0_usize));
        join_all(1000, MAX_WAIT, |_| async {
            waiting.set(waiting.get() + 1);
            most.set(most.get().max(waiting.get()));
            yield_now().await;
            waiting.set(waiting.get() - 1);
        })
        .await;
        assert!((2..=2 * AT_A_TIME).contains(&most.get()), "{most:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn between_some_beginnings_and_the_next_others_have_their_turn() {
        let begun = Cell::new(0_usize);
        let turns = Turns::of(1000);
        let all =
            future::join_all((0..1000).map(|_| turns.clone().wait_for(async { begun.set(begun.get() + 1) })));
        let other = async {
            let mut most = 0;
            while begun.get() < 1000 {
                let before = begun.get();
                yield_now().await;
                most = most.max(begun.get() - before);
            }
            most
        };
        let (_, most) = future::join(all, other).await;
        assert!(most <= 2 * A_TURN, "{most}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_hung_task_delays_no_other() {
        let (done, hung) = (Cell::new(0), Duration::from_hours(1));
        let all = join_all(1000, MAX_WAIT, |number| {
            let done = &done;
            async move {
                if number % 2 == 0 {
                    sleep(hung).await;
                }
                done.set(done.get() + 1);
            }
        });
        assert!(timeout(MAX_WAIT + Duration::from_millis(10), all).await.is_err());
        assert_eq!(done.get(), 500);
    }
}
