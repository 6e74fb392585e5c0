//! stub
/// stub
pub mod round_trip {}
