//! Measurements, many times over: quantiles, and the ratio of pairs.

use std::time::{Duration, Instant};

/// Measurements of one thing, in order of size.
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// The least value that this share of all does not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let place = (share * self.0.len() as f64).ceil() as usize;
        self.0[place.clamp(1, self.0.len()) - 1]
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn p99(&self) -> f64 {
        self.quantile(0.99)
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

pub(crate) fn median(values: Vec<f64>) -> f64 {
    Sample::new(values).median()
}

/// Two things that were measured in turn, so that whatever else the machine did met both.
#[derive(Default)]
pub(crate) struct Pairs {
    /// Every measurement of the one, and of its floor.
    pub(crate) ours: Vec<f64>,
    pub(crate) floor: Vec<f64>,
    ratios: Vec<f64>,
}

impl Pairs {
    /// Takes note of a turn of each. The pair's ratio is that of the two medians.
    pub(crate) fn push(&mut self, ours: Vec<f64>, floor: Vec<f64>) {
        self.ours.extend(&ours);
        self.floor.extend(&floor);
        self.ratios.push(median(ours) / median(floor));
    }

    /// How many floors it is, by the median of the pairs.
    pub(crate) fn ratio(&self) -> f64 {
        median(self.ratios.clone())
    }

    pub(crate) fn samples(self) -> [Sample; 2] {
        [self.ours, self.floor].map(Sample::new)
    }
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// How long it takes, in microseconds.
pub(crate) fn timed<T>(what: impl FnOnce() -> T) -> (f64, T) {
    let began = Instant::now();
    let made = what();
    (micros(began.elapsed()), made)
}
