//! The properties of Sentinels' answers.

use redis::Value;

use super::consensus::SentinelState;
use super::{address_in, disagreement};
use crate::topology::consensus::Account as _;
use crate::topology::fuzzing::expect_dialable;

pub(in crate::topology) fn sentinel(answer: &Value) {
    address_in(answer).iter().for_each(expect_dialable);
    let named = disagreement::read(answer);
    assert!(!named.is_same(&named) || format!("{answer:?}").contains("runid"));
    if let Some(state) = SentinelState::read(answer) {
        assert_eq!(state.differences(&state), [], "it contradicts itself");
    }
}
