//! What a check is: something that is done to one node, and writes down in a
//! [`NodeProgress`](crate::progress::NodeProgress) what it does and finds. It cannot fail, and it knows no
//! deadline: it is dropped when that strikes.

pub mod round_trip;
