//! What a check is: a [`tower::Service`] that takes a [`Progress`](crate::progress::Progress) and writes down
//! in it what it does and finds. It cannot fail, and it knows no deadline: it is dropped when that strikes.

pub mod round_trip;
